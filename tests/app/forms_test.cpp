// Clips, optimizers, schedules and policies by name, with their settings, and that each does what
// it says.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numbers>
#include <sstream>

#include "app/program.h"
#include "rein/io/safetensors.h"

namespace rein::test {
namespace {

using nlohmann::json;

// What a run of a few steps logs.
std::vector<json> log_of(const TemporaryFolder& folder, std::vector<std::string> arguments) {
  std::filesystem::remove(folder / "log.jsonl");
  arguments.insert(arguments.end(), {"--log", "log.jsonl", "--out", "r", "--force"});
  const Finished f = train(folder, arguments);
  EXPECT_EQ(f.code, 0) << f.err;
  std::vector<json> found;
  std::istringstream in(read_bytes(folder / "log.jsonl"));
  for (std::string line; std::getline(in, line);) found.push_back(json::parse(line));
  return found;
}

std::vector<double> weights(const TemporaryFolder& folder) {
  std::vector<double> all;
  for (const auto& [name, tensor] : read_safetensors(folder / "r/model.safetensors").tensors)
    for (float v : tensor.flat<float>()) all.push_back(v);
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

TEST(Forms, EveryStepIsALineOfTheLog) {
  TemporaryFolder folder;
  const auto log = log_of(folder, {"--limit", "64", "--clip", "global:0.01", "--schedule",
                                   "cosine:alpha=0.1", "--learning-rate", "0.5"});
  ASSERT_EQ(log.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const json& step = log[i];
    EXPECT_EQ(step["step"], i + 1);
    EXPECT_EQ(step["examples"], 16);
    EXPECT_GT(step["norm"].get<double>(), 0.01);
    EXPECT_DOUBLE_EQ(step["clipped_norm"], 0.01);
    EXPECT_NEAR(step["scale"], 0.01 / step["norm"].get<double>(), 1e-12);
    EXPECT_EQ(step["clipped"], true);
    EXPECT_EQ(step["skip"], false);
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(i) / 4));
    EXPECT_NEAR(step["learning_rate"], 0.5 * (0.9 * cosine + 0.1), 1e-12);
  }
}

TEST(Forms, ClipsInARowAndWithSettings) {
  TemporaryFolder folder;
  const auto first = [&](const std::string& clip) {
    return log_of(folder, {"--limit", "16", "--clip", clip}).at(0);
  };
  const double norm = first("none")["norm"];
  const double of_value = first("value:0.001")["clipped_norm"];
  const json both = first("value:0.001+global:2e+1");
  EXPECT_EQ(both["norm"], norm);
  EXPECT_EQ(both["clipped_norm"], of_value);
  EXPECT_DOUBLE_EQ(first("value:0.001+global:1e-3")["clipped_norm"], 1e-3);
  EXPECT_DOUBLE_EQ(first("global:clip_norm=0.002")["clipped_norm"], 0.002);
  // torch's factor has 1e-6 in its divisor.
  EXPECT_NEAR(first("global:0.002,semantics=pytorch")["clipped_norm"], 0.002 * norm / (norm + 1e-6),
              1e-9);
  // The L2 norm, which is told, gets the same factor as the largest element.
  const json largest = first("global:0.01,norm_type=inf");
  EXPECT_EQ(largest["norm"], norm);
  EXPECT_LT(largest["scale"], 1);
  EXPECT_NEAR(largest["clipped_norm"], norm * largest["scale"].get<double>(), 1e-12 * norm);
}

TEST(Forms, EachOptionDoesWhatItSays) {
  TemporaryFolder folder;
  const auto after = [&](const std::vector<std::string>& more) {
    log_of(folder, with_last({"--limit", "32", "--clip", "none", "--optimizer", "sgd",
                              "--learning-rate", "1"},
                             more));
    return weights(folder);
  };
  const auto plain = after({}), still = after({"--learning-rate", "1e-30"});
  EXPECT_GT(distance(plain, still), 0.1);
  const auto clipped = after({"--limit", "16", "--clip-updates", "global:0.001"});
  EXPECT_NEAR(distance(clipped, still), 0.001, 1e-5);              // weights are rounded to float32
  EXPECT_LT(distance(after({"--accumulate", "4"}), plain), 1e-5);  // the mean in another order
  EXPECT_EQ(after({"--loss-scale", "1024"}), plain);               // a power of two
  EXPECT_GT(distance(after({"--cell-clip", "0.01"}), plain), 1e-3);
  EXPECT_GT(distance(after({"--error-clip", "1e-5"}), plain), 1e-3);
  EXPECT_GT(after({"--layers", "2"}).size(), plain.size());
  EXPECT_GT(distance(after({"--forget-bias", "3"}), plain), 1e-3);
  EXPECT_GT(distance(after({"--optimizer", "sgd:weight_decay=0.1"}), plain), 1e-2);
  EXPECT_GT(distance(after({"--average", "0.5"}), plain), 1e-3);
  // After its first step the average is the weights.
  EXPECT_EQ(after({"--limit", "16", "--average", "0.5"}), after({"--limit", "16"}));
}

TEST(Forms, StepsAreSkippedWhenSoTold) {
  TemporaryFolder folder;
  const auto log = log_of(folder, {"--limit", "64", "--non-finite", "skip:skip_above=1e-6"});
  for (const json& step : log) {
    EXPECT_EQ(step["skip"], true);
    EXPECT_EQ(step["learning_rate"], 0);
  }
  const json metrics = json::parse(read_bytes(folder / "r/metrics.jsonl"));
  EXPECT_EQ(metrics["skipped_steps"], 4);
  const std::vector<std::string> again{"--limit", "64",   "--non-finite", "skip:skip_above=1e-6",
                                       "--out",   "again"};
  EXPECT_TRUE(contains(train(folder, again).out, "  skipped 4 of 4\n"));
  const Finished f = train(
      folder, {"--limit", "64", "--non-finite", "skip:skip_above=1e-6,most_skips=2", "--out", "s"});
  EXPECT_EQ(f.code, 4) << f.err;
}

TEST(Forms, TheLearningRateRisesFirstAndThenTheScheduleTakesWhatIsLeft) {
  TemporaryFolder folder;
  const auto log = log_of(folder, {"--limit", "96", "--learning-rate", "0.5", "--warmup", "2",
                                   "--schedule", "polynomial:end=0.1,power=1"});
  ASSERT_EQ(log.size(), 6u);
  const double rates[] = {0, 0.25, 0.5, 0.4, 0.3, 0.2};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(log[i]["learning_rate"], rates[i], 1e-15) << i;
}

TEST(Forms, TheLearningRateIsTheOptimizersOwnUnlessGiven) {
  TemporaryFolder folder;
  const std::pair<const char*, double> rows[] = {
      {"adam", 1e-3}, {"sgd", 0.01}, {"adadelta", 1}, {"muon", 0.02}, {"lion", 1e-4}};
  for (const auto& [name, rate] : rows) {
    const auto log = log_of(folder, {"--limit", "32", "--optimizer", name});
    EXPECT_EQ(log.back()["learning_rate"], rate) << name;
  }
}

TEST(Forms, BoundsOfValuesMayBothBeNamed) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--limit", "32", "--clip", "value:min=-0.1,max=0.2", "--out", "r"}).code,
            0);
}

TEST(Forms, EveryNameOfASettingIsTaken) {
  TemporaryFolder folder;
  for (const auto& [option, names] :
       {std::pair{"--clip=norm:1,semantics=", "safe tensorflow keras pytorch optax"},
        {"--optimizer=adam:form=", "tensorflow keras pytorch optax"},
        {"--schedule=one_cycle:anneal=", "cosine linear"}}) {
    std::istringstream in(names);
    for (std::string name; in >> name;) {
      const Finished f = train(folder, {option + name, "--out", "r", "--force"});
      EXPECT_EQ(f.code, 0) << f.err;
    }
  }
}

TEST(Forms, RollbackGoesBackAndThenGivesUp) {
  TemporaryFolder folder;
  const std::vector<std::string> bad{"--limit", "96", "--non-finite", "skip:skip_above=1e-6"};
  const auto with = [&](const std::string& rollback) {
    std::vector<std::string> arguments = bad;
    arguments.insert(arguments.end(), {"--rollback", rollback});
    return arguments;
  };
  const auto log = log_of(folder, with("on:most_bad=1,rate_factor=0.25"));
  ASSERT_EQ(log.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(log[i]["rolled_back"], i % 2 == 1);
    EXPECT_EQ(log[i]["rollbacks"], (i + 1) / 2);
  }
  EXPECT_EQ(json::parse(read_bytes(folder / "r/metrics.jsonl"))["rollbacks"], 3);
  std::vector<std::string> arguments = with("on:most_bad=1,most=2");
  arguments.insert(arguments.end(), {"--out", "s"});
  const Finished f = train(folder, arguments);
  EXPECT_EQ(f.code, 4) << f.err;
  EXPECT_TRUE(contains(f.err, "parameters were rolled back 2 times before")) << f.err;

  // What was bad of it is told, though all of it is finite.
  ASSERT_EQ(train(folder, {"--limit", "96", "--learning-rate", "30", "--clip", "none", "--rollback",
                           "on:every=1,most_bad=0,most=0,loss_above=1.01", "--out", "t"})
                .code,
            4);
  const Finished replayed = rein(folder, {"replay", "t"});
  EXPECT_EQ(replayed.code, 0) << replayed.out;
  double loss = 0, norm = 0, factor = 0, kept = 0;
  EXPECT_EQ(
      std::sscanf(replayed.out.c_str(),
                  "step %*d: all results and gradients are finite; the loss is %lf, the "
                  "global norm %lf\nthe loss of the rollback's copy was %lf, and loss_above is "
                  "%lf",
                  &loss, &norm, &kept, &factor),
      4)
      << replayed.out;
  EXPECT_EQ(factor, 1.01);
  EXPECT_GT(loss, factor * kept);
  EXPECT_GT(norm, 0);
}

TEST(Forms, ErrorsListWhatThereIs) {
  TemporaryFolder folder;
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{"--clip", "norm:1,axis=1"}, "clip: 'norm' has no setting 'axis'; did you mean 'axes'?"},
      {{"--clip", "norm:1,axis=1"}, "it has: clip_norm, clip_norm/per_sample, axes, semantics"},
      {{"--clip", "norm:1,semantics=tensor"},
       "clip: 'tensor' is no semantics of 'norm'; give one of safe, tensorflow, keras, pytorch, "
       "optax"},
      {{"--clip", "norm:1,axes=a"}, "'a' is no axes of 'norm'; give numbers with / between them"},
      {{"--clip", "value:1+value:1,max=-5"},
       "clip: 'value:1,max=-5': ClipByValue: the bounds must be numbers, the lower first"},
      {{"--clip-updates", "global:1,norm_type=0"},
       "clip_updates: 'global:1,norm_type=0': ClipByGlobalNorm: norm_type is 0; give a number from "
       "1 on"},
      {{"--clip", "none+global:1"}, "clip: none stands alone"},
      {{"--clip", "value:1+globl:2"}, "clip: 'globl:2' is none of these"},
      {{"--clip", "global:0.1,clip_norm=0.3"},
       "clip: 'global:0.1,clip_norm=0.3' says in two ways what C is; leave the 0.1 or its setting"},
      {{"--clip", "autoclip:50,percentile=60"}, "says in two ways what C is"},
      {{"--optimizer", "adam:beta1=0.8,beta1=0.9"}, "has the setting 'beta1' twice"},
      {{"--clip", "gloabl:5"}, "with C a positive number; did you mean 'global'?\n"},
      {{"--clip", "global:5+"},
       "needs its C, a positive number, which '5+' is not, as in global:C"},
      {{"--clip", "norm:1,axes=0,1"},
       "several numbers of a setting stand with / between them, as in axes=0/1"},
      {{"--non-finite", "skip,skip_above=3"},
       "settings stand behind a colon, as in skip:skip_above=3"},
      {{"--clip", "value:max=1"}, "clip: 'value:max=1' is one bound; give min and max"},
      {{"--clip", "value:foo=1"}, "clip: 'value' has no setting 'foo'"},
      {{"--clip", "global:norm_type=3"},
       "clip: 'global:norm_type=3' needs its C, a positive number"},
      {{"--clip", "value:0"}, "clip: 'value:0' needs its C, a positive number"},
      {{"--clip-updates", "global:"},
       "clip_updates: 'global:' needs its C, a positive number, as in global:C: all gradients"},
      {{"--optimizer", "adamw:weight_dacay=1"}, "did you mean 'weight_decay'"},
      {{"--optimizer", "adamw:0.1"}, "optimizer: 'adamw:0.1': setting=value is expected"},
      {{"--optimizer", "adam:beta1=x"}, "optimizer: 'x' is no beta1 of 'adam'; give a number"},
      {{"--optimizer", "adam:amsgrad=1"}, "'1' is no amsgrad of 'adam'; give true or false"},
      {{"--optimizer", "lamb:form=tf"}, "give one of tensorflow, keras, pytorch, optax\n"},
      {{"--optimizer", "lamb:form=pytorch"},
       "optimizer: 'lamb:form=pytorch': Lamb: form must be one of keras, optax"},
      {{"--set", "optimizer=adam:beta1=1"}, "'adam:beta1=1': Adam: beta1 must be in [0, 1), got 1"},
      {{"--schedule", "cosin"}, "did you mean 'cosine'"},
      {{"--schedule", "cosine:alpha"}, "schedule: 'cosine:alpha': setting=value is expected"},
      {{"--schedule", "one_cycle:anneal=lin"},
       "'lin' is no anneal of 'one_cycle'; give one of cosine, linear"},
      {{"--schedule", "one_cycle:rise_fraction=1"},
       "schedule: 'one_cycle:rise_fraction=1': OneCycle: rise_fraction must be above 0 and below "
       "1, got 1\n"},
      {{"--data", "generated", "--limit", "48", "--batch-size", "16", "--epochs", "1", "--schedule",
        "one_cycle"},
       "schedule: 'one_cycle': OneCycle: rise_fraction 0.3 of 3 total_steps is a rise of no more "
       "than a step; take more steps"},
      {{"--schedule", "constant:steps=1"}, "has no setting 'steps'\nit has: none"},
      {{"--non-finite", "skip:skip_above=-1"},
       "non_finite: 'skip:skip_above=-1': CheckFinite: skip_above must be a number from 0 on"},
      {{"--non-finite", "skip:policy=zero"},
       "non_finite: 'skip' is a policy; leave the setting policy away"},
      {{"--non-finite", "skp"}, "non_finite: 'skp' is none of stop, skip, zero, propagate; did"},
      {{"--rollback", "off"}, "rollback: 'off' is none of none, on"},
      {{"--rollback", "on:evry=3"}, "rollback: 'on' has no setting 'evry'; did you mean 'every'?"},
      {{"--data", "generated", "--optimizer", "rprop", "--warmup", "3"},
       "optimizer: 'rprop' takes the learning rate as the first step of every weight, and no "
       "schedule or warmup changes it later"},
      {{"--data", "generated", "--optimizer", "rprop", "--rollback", "on"},
       "a rollback lowers the learning rate, and Rprop has none; set rollback.rate_factor to 1"},
      {{"--data", "generated", "--optimizer", "schedule_free", "--average", "0.9"},
       "ScheduleFreeAdamW keeps the parameters between its own average"},
      {{"--data", "generated", "--batch-size", "16", "--accumulate", "3"},
       "accumulate: a batch of 16 cannot be cut into 3 equal parts"},
  };
  for (const auto& [more, text] : rows) {
    std::vector<std::string> arguments{"train"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished f = rein(folder, arguments);
    EXPECT_EQ(f.code, 2) << f.err;
    EXPECT_TRUE(contains(f.err, text)) << f.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  const std::string help = rein(folder, {"train", "--help"}).out;
  for (const char* name : {"zclip:C", "schedule_free", "one_cycle", "propagate", "--resume"})
    EXPECT_TRUE(contains(help, name)) << name;
}

}  // namespace
}  // namespace rein::test
