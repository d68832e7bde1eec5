// A run and what can be done with it afterwards.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/program.h"
#include "rein/data/images.h"
#include "rein/io/safetensors.h"

namespace rein::test {
namespace {

using nlohmann::json;

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) found.push_back(line);
  return found;
}

std::string line_with(const std::string& text, std::string_view part) {
  for (const std::string& line : lines(text))
    if (line.starts_with(part)) return line;
  ADD_FAILURE() << "no line begins with " << part << " in: " << text;
  return "";
}

json last_metrics(const std::filesystem::path& run) {
  return json::parse(lines(read_bytes(run / "metrics.jsonl")).back());
}

std::string counted(int correct, int total) {
  return std::to_string(correct).insert(0, 1, '(') + " of " + std::to_string(total) + ")";
}

TEST(Run, TrainEvalAndPredictAgree) {
  TemporaryFolder folder;
  const Finished trained = train(folder, {"--limit", "300", "--epochs", "3", "--out", "r"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const std::string accuracy = line_with(trained.out, "test accuracy ");
  EXPECT_TRUE(contains(accuracy, " of 300)"));
  EXPECT_EQ(line_with(trained.out, "run "), "run r");

  const Finished evaluated = rein(folder, {"eval", "r"});
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_EQ(evaluated.out, accuracy + "\n");

  // Images of 300 need two batches; labels come out as the test set of the task, k mod 10.
  const auto metrics = lines(read_bytes(folder / "r/metrics.jsonl"));
  ASSERT_EQ(metrics.size(), 3u);
  for (size_t i = 0; i < metrics.size(); ++i) {
    const json m = json::parse(metrics[i]);
    EXPECT_EQ(m["epoch"], i + 1);
    EXPECT_EQ(m["step"], (i + 1) * (300 / 16));
    for (const char* key : {"loss", "test_accuracy", "gradient_norm", "clipped_gradient_norm",
                            "clipped_share", "examples_per_second"})
      EXPECT_TRUE(m[key].is_number()) << key;
  }
  EXPECT_TRUE(contains(accuracy, counted(json::parse(metrics[2])["test_correct"], 300)));
  const TensorFile weights = read_safetensors(folder / "r/model.safetensors");
  EXPECT_EQ(weights.metadata.at("epoch"), "3");
  EXPECT_EQ(weights.metadata.at("step"), std::to_string(3 * (300 / 16)));
}

TEST(Run, PredictLabelsTheImagesOfAFile) {
  TemporaryFolder folder;
  write_small_data(folder / "data", 96, 300);
  ASSERT_EQ(train(folder, {"--data", "data", "--limit", "0", "--out", "r"}).code, 0);
  const Finished evaluated = rein(folder, {"eval", "r"});
  const auto text = lines(rein(folder, {"predict", "r", "data/t10k-images-idx3-ubyte"}).out);
  const auto objects = lines(
      rein(folder, {"predict", "r", "data/t10k-images-idx3-ubyte", "--json", "--logits"}).out);
  ASSERT_EQ(text.size(), 300u);
  ASSERT_EQ(objects.size(), 300u);
  int correct = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const json j = json::parse(objects[i]);
    const size_t label = j["label"];
    EXPECT_EQ(j["index"], i);
    EXPECT_EQ(j["name"], kFashionMnistClasses[label]);
    const auto logits = j["logits"].get<std::vector<double>>();
    ASSERT_EQ(logits.size(), 10u);
    double sum = 0;
    for (double v : logits) {
      EXPECT_LE(v, logits[label]);
      sum += std::exp(v);
    }
    EXPECT_NEAR(j["probability"], std::exp(logits[label]) / sum, 1e-12);
    char line[100];
    std::snprintf(line, sizeof line, "%zu\t%zu\t%s\t%.4f", i, label,
                  std::string(kFashionMnistClasses[label]).c_str(), j["probability"].get<double>());
    EXPECT_EQ(text[i], line);
    correct += label == i % 10;  // as the small data is made
  }
  EXPECT_TRUE(contains(evaluated.out, counted(correct, 300)));
}

TEST(Run, LearnsTheGeneratedTask) {
  TemporaryFolder folder;
  const Finished trained = train(folder, {"--limit", "2000", "--hidden", "24", "--epochs", "6",
                                          "--learning-rate", "0.01", "--out", "r"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  // Guessing gives 0.1.
  EXPECT_GT(last_metrics(folder / "r")["test_accuracy"], 0.6) << trained.out;
}

TEST(Run, TheSameBitsForAnyNumberOfThreadsAndAnotherSeedAnotherRun) {
  TemporaryFolder folder;
  for (const auto& [run, threads, seed] :
       {std::tuple{"one", "1", "1"}, std::tuple{"two", "2", "1"}, std::tuple{"other", "1", "2"}})
    ASSERT_EQ(
        train(folder, {"--hidden", "32", "--threads", threads, "--seed", seed, "--out", run}).code,
        0);
  const auto weights = [&](std::string_view run) {
    return read_bytes(folder / run / "model.safetensors");
  };
  EXPECT_EQ(weights("one"), weights("two"));
  EXPECT_NE(weights("one"), weights("other"));
}

using Weights = std::map<std::string, std::vector<double>>;

// The weights after one step of gradient descent, minus those before it.
Weights one_step(const TemporaryFolder& folder, const std::string& clip) {
  const auto after = [&](const std::string& rate) {
    const Finished trained =
        train(folder, {"--limit", "16", "--optimizer", "sgd", "--learning-rate", rate, "--clip",
                       clip, "--out", "r", "--force"});
    EXPECT_EQ(trained.code, 0) << trained.err;
    Weights weights;
    for (const auto& [name, tensor] : read_safetensors(folder / "r/model.safetensors").tensors) {
      const auto values = tensor.flat<float>();
      weights[name].assign(values.begin(), values.end());
    }
    return weights;
  };
  Weights change = after("1"), before = after("1e-30");
  for (auto& [name, values] : change)
    for (size_t i = 0; i < values.size(); ++i) values[i] -= before[name][i];
  return change;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v * v;
  return std::sqrt(sum);
}

// What each form promises of a gradient, seen in the weights. They were rounded to float32 at a
// magnitude below 1, so the change is known to about 6e-8 an element, 2e-3 of the thresholds.
TEST(Run, EveryClipTakesEffect) {
  TemporaryFolder folder;
  constexpr double kSlack = 2e-3;
  double largest = 0, together = 0;
  std::map<std::string, double> norms, averages;
  const auto measure = [&](const std::string& clip) {
    largest = together = 0;
    for (const auto& [name, values] : one_step(folder, clip)) {
      norms[name] = norm(values);
      averages[name] = norms[name] / static_cast<double>(values.size());
      together = std::hypot(together, norms[name]);
      for (double v : values) largest = std::max(largest, std::abs(v));
    }
  };
  const auto clipped = [&] { return last_metrics(folder / "r")["clipped_share"].get<double>(); };

  measure("none");
  EXPECT_EQ(clipped(), 0);
  EXPECT_GT(largest, 1e-2);  // or the thresholds below would show nothing
  EXPECT_NEAR(last_metrics(folder / "r")["gradient_norm"], together, kSlack * together);

  measure("global:0.01");
  EXPECT_EQ(clipped(), 1);
  EXPECT_NEAR(together, 0.01, kSlack * 0.01);
  EXPECT_NEAR(last_metrics(folder / "r")["clipped_gradient_norm"], 0.01, 1e-8);

  measure("value:0.001");
  EXPECT_EQ(clipped(), 1);
  EXPECT_NEAR(largest, 0.001, kSlack * 0.001);

  measure("norm:0.01");
  EXPECT_EQ(clipped(), 1);
  for (const auto& [name, n] : norms) EXPECT_LE(n, 0.01 * (1 + kSlack)) << name;
  EXPECT_NEAR(norms["out/weights"], 0.01, kSlack * 0.01);

  measure("average:0.0001");
  EXPECT_EQ(clipped(), 1);
  for (const auto& [name, a] : averages) EXPECT_LE(a, 0.0001 * (1 + kSlack)) << name;
  EXPECT_NEAR(averages["out/biases"], 0.0001, kSlack * 0.0001);

  measure("global:1000");
  EXPECT_EQ(clipped(), 0);
}

TEST(Run, DivergenceNamesTheVariableAndKeepsTheLastGoodWeights) {
  TemporaryFolder folder;
  const Finished diverged =
      train(folder, {"--clip", "none", "--learning-rate", "1e38", "--out", "r"});
  EXPECT_EQ(diverged.code, 4);
  EXPECT_TRUE(contains(diverged.err, "diverged at step "));
  EXPECT_TRUE(contains(diverged.err, "is not finite"));
  EXPECT_TRUE(contains(diverged.err, "--clip"));
  EXPECT_FALSE(std::filesystem::exists(folder / "r/model.safetensors"));
  const Finished evaluated = rein(folder, {"eval", "r"});
  EXPECT_EQ(evaluated.code, 5);
  EXPECT_TRUE(contains(evaluated.err, "no epoch"));

  // What was tried stands in a file, and happens again in another process.
  EXPECT_TRUE(contains(diverged.err, "rein replay r/diverged.safetensors"));
  const Finished replayed = rein(folder, {"replay", "r/diverged.safetensors"});
  EXPECT_EQ(replayed.code, 4) << replayed.err;
  EXPECT_TRUE(contains(replayed.out, "step ")) << replayed.out;
  EXPECT_TRUE(contains(replayed.out, "op ") && contains(replayed.out, "layer '")) << replayed.out;
}

// In a folder whose name a shell would take apart.
TEST(Run, DivergenceLaterSaysHowToGoOnWithTheLastWeights) {
  TemporaryFolder folder;
  const Finished diverged = train(
      folder, {"--limit", "640", "--epochs", "2", "--clip", "none", "--schedule",
               "exponential:decay_rate=1e41,decay_steps=40,staircase=true", "--out", "my $r"});
  EXPECT_EQ(diverged.code, 4) << diverged.err;
  EXPECT_TRUE(
      contains(
          diverged.err,
          R"('rein train --from "my \$r" --clip global:1 --learning-rate 0.0001 --schedule constant')") &&
      contains(diverged.err, R"('rein replay "my \$r/diverged.safetensors"')"))
      << diverged.err;
  EXPECT_TRUE(contains(diverged.err, "\nadvice: p50 ")) << diverged.err;
  const std::string accuracy = "test accuracy 0.1234";
  const size_t told = diverged.out.find("test accuracy ");
  ASSERT_NE(told, std::string::npos) << diverged.out;
  EXPECT_TRUE(contains(diverged.err,
                       "were saved (epoch 1, " + diverged.out.substr(told, accuracy.size()) + ")"))
      << diverged.err;
  EXPECT_EQ(rein(folder, {"replay", "my $r"}).code, 4);
  EXPECT_EQ(rein(folder, {"train", "--from", "my $r", "--clip", "global:1", "--schedule",
                          "constant", "--out", "s"})
                .code,
            0);
}

// A rollback has lowered the rate before it gave up, and weights that are no better than guessing
// are not gone on with.
TEST(Run, DivergenceSuggestsALowerRateAndWeightsThatAreWorthIt) {
  TemporaryFolder folder;
  const auto diverge = [&](const std::vector<std::string>& more) {
    const Finished f =
        train(folder, with_last({"--limit", "640", "--epochs", "3", "--clip", "none", "--schedule",
                                 "exponential:decay_rate=1e41,decay_steps=40,staircase=true",
                                 "--out", "r", "--force"},
                                more));
    EXPECT_EQ(f.code, 4) << f.err;
    return f.err;
  };
  EXPECT_TRUE(contains(diverge({"--rollback", "on:every=1,most_bad=0,most=1,rate_factor=0.25"}),
                       " --learning-rate 2.5e-05 "));
  const std::string ruined =
      diverge({"--schedule", "exponential:decay_rate=1e21,decay_steps=39,staircase=true"});
  EXPECT_TRUE(contains(ruined, " in a new run: the weights that were saved (epoch 1, ")) << ruined;
  EXPECT_FALSE(contains(ruined, "--from")) << ruined;
  const Finished f = train(folder, {"--clip", "none", "--optimizer", "momentum", "--learning-rate",
                                    "1000", "--limit", "640", "--out", "s"});
  EXPECT_EQ(f.code, 0) << f.err;
  EXPECT_TRUE(contains(f.out,
                       "is above that of guessing, 2.30. Lower the learning rate. "
                       "(--learning-rate 1e+02)\n"))
      << f.out;
}

TEST(Run, AnEpochWithoutAStepHasNoLossAndForceLeavesNothingOfAnOldRun) {
  TemporaryFolder folder;
  const std::vector<std::string> wild{"--clip", "none", "--learning-rate", "1e38", "--out", "r"};
  ASSERT_EQ(train(folder, wild).code, 4);
  ASSERT_TRUE(std::filesystem::exists(folder / "r/diverged.safetensors"));
  const Finished f =
      train(folder, with_last(wild, {"--force", "--epochs", "2", "--non-finite", "skip"}));
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "r/diverged.safetensors"));
  EXPECT_TRUE(last_metrics(folder / "r")["loss"].is_null());
  EXPECT_TRUE(contains(line_with(f.out, "epoch 2/2  test accuracy"), "  skipped ")) << f.out;
}

TEST(Run, SaysWhatToSetAndHowGradientsComeBack) {
  TemporaryFolder folder;
  const auto advice = [&](const std::string& clip) {
    const Finished f =
        train(folder, {"--limit", "640", "--epochs", "2", "--clip", clip, "--out", "r", "--force"});
    EXPECT_EQ(f.code, 0) << f.err;
    std::string found;
    for (const std::string& line : lines(f.out))
      if (line.starts_with("advice: ")) found += line + "\n";
    return found;
  };
  const std::string often = advice("global:0.001");
  EXPECT_TRUE(contains(often, "you clip 100 % of steps to 0.001")) << often;
  const size_t flag = often.find("(--clip global:");
  ASSERT_NE(flag, std::string::npos) << often;
  const double limit = std::stod(often.substr(flag + 15));
  const json m = last_metrics(folder / "r");
  EXPECT_GT(limit, m["gradient_norm"].get<double>() / 10);
  EXPECT_LE(limit, 2 * m["gradient_norm_max"].get<double>());
  for (const char* key : {"gradient_by_lag_c", "gradient_by_lag_h"})
    EXPECT_EQ(m[key].size(), 28u) << key;
  EXPECT_EQ(m["gradient_by_lag_h"][0], 1);
  EXPECT_EQ(m["gates_closed"].size(), 4u);
  EXPECT_EQ(m["gates_open"].size(), 4u);
  // What the program has for what is advised, where it is not done already.
  const auto told = [&](const std::vector<std::string>& more) {
    return train(folder,
                 with_last({"--limit", "640", "--epochs", "2", "--out", "r", "--force"}, more))
        .out;
  };
  const std::vector<std::string> wild{"--clip", "none", "--learning-rate", "1e38"};
  const std::string zeroed = told(with_last(wild, {"--non-finite", "zero"}));
  EXPECT_TRUE(contains(zeroed, "steps were not finite") &&
              contains(zeroed, "find the cause. (--non-finite skip)\n"))
      << zeroed;
  const std::string skipped = told(with_last(wild, {"--non-finite", "skip"}));
  EXPECT_TRUE(contains(skipped, "steps were not finite") &&
              contains(skipped, "find the cause. (--non-finite stop ends at the first"))
      << skipped;
  const std::string closed = told({"--forget-bias", "-9"});
  EXPECT_TRUE(contains(closed, "or shorten the sequence. (--forget-bias -8)\n")) << closed;
  // As a guard of its own is there, it needs no other.
  EXPECT_FALSE(contains(advice("global:1000"), "none of"));
  EXPECT_TRUE(contains(advice("none"), "none of"));
}

TEST(Run, ALossScaleHidesNoDivergence) {
  TemporaryFolder folder;
  const Finished diverged = train(
      folder, {"--clip", "none", "--learning-rate", "1e38", "--loss-scale", "1024", "--out", "r"});
  EXPECT_EQ(diverged.code, 4) << diverged.err;
  EXPECT_TRUE(contains(diverged.err, "diverged at step ")) << diverged.err;
  EXPECT_EQ(rein(folder, {"replay", "r/diverged.safetensors"}).code, 4);
}

TEST(Run, ReplayRefusesOtherFiles) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--out", "r"}).code, 0);
  const Finished weights = rein(folder, {"replay", "r/model.safetensors"});
  EXPECT_EQ(weights.code, 3);
  EXPECT_TRUE(contains(weights.err, "rein bundle 2"));
  const Finished nothing = rein(folder, {"replay", "r/nothing"});
  EXPECT_EQ(nothing.code, 5);
  EXPECT_TRUE(contains(nothing.err, "r/nothing: there is no such file or folder")) << nothing.err;
  const Finished fine = rein(folder, {"replay", "r"});
  EXPECT_EQ(fine.code, 5);
  EXPECT_TRUE(contains(fine.err, "r: holds no diverged.safetensors: this run did not diverge"))
      << fine.err;
}

TEST(Run, DamagedOrMissingRuns) {
  TemporaryFolder folder;
  Finished f = rein(folder, {"eval", "none"});
  EXPECT_EQ(f.code, 5);
  EXPECT_TRUE(contains(f.err, "none: there is no such folder"));

  ASSERT_EQ(train(folder, {"--out", "r"}).code, 0);
  f = rein(folder, {"predict", "r", "no-such-file"});
  EXPECT_EQ(f.code, 5);
  EXPECT_TRUE(contains(f.err, "no-such-file"));

  const std::string weights = read_bytes(folder / "r/model.safetensors");
  write_bytes(folder / "r/model.safetensors", weights.substr(0, weights.size() / 2));
  f = rein(folder, {"eval", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "model.safetensors"));
  EXPECT_EQ(f.out, "");
  using std::string_literals::operator""s;
  write_bytes(folder / "r/model.safetensors",
              weights.substr(0, weights.size() - 4) + "\0\0\xc0\x7f"s);
  f = rein(folder, {"eval", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "is nan; give a run that did not diverge"));
  write_bytes(folder / "r/model.safetensors", weights);

  const std::string settings = read_bytes(folder / "r/settings.toml");
  write_bytes(folder / "r/settings.toml", settings + "more = 1\n");
  f = rein(folder, {"eval", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "unknown setting 'more'"));
  write_bytes(folder / "r/settings.toml", "hidden = 9\n");
  f = rein(folder, {"eval", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "'rnn/kernel' is float32 [16, 32], the model's is float32 [18, 36]"));
}

TEST(Run, ForceLeavesARunWhereTheNewOneCannotBegin) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--out", "r"}).code, 0);
  const std::string weights = read_bytes(folder / "r/model.safetensors");
  const Finished f = train(folder, {"--out", "r", "--force", "--log", "nowhere/log"});
  EXPECT_EQ(f.code, 5) << f.err;
  EXPECT_EQ(read_bytes(folder / "r/model.safetensors"), weights);
}

TEST(Run, ARuleWithALearningRateOfItsOwnTakesNoOther) {
  TemporaryFolder folder;
  for (const std::vector<std::string>& other : {std::vector<std::string>{"--schedule", "cosine"},
                                                {"--warmup", "3"},
                                                {"--learning-rate", "5"}}) {
    std::vector<std::string> arguments = {"--out", "r", "--optimizer", "adam:learning_rate=0.01"};
    arguments.insert(arguments.end(), other.begin(), other.end());
    const Finished f = train(folder, arguments);
    EXPECT_EQ(f.code, 2) << f.err;
    EXPECT_TRUE(contains(f.err, "has a learning rate of its own"));
  }
}

TEST(Run, DamagedOrMissingData) {
  TemporaryFolder folder;
  Finished f = train(folder, {"--data", "none", "--out", "r"});
  EXPECT_EQ(f.code, 5);
  EXPECT_TRUE(contains(f.err, "dataset-fashion-mnist"));

  write_small_data(folder / "data");
  const std::string images = read_bytes(folder / "data/train-images-idx3-ubyte");
  write_bytes(folder / "data/train-images-idx3-ubyte", images.substr(0, images.size() - 1000));
  f = train(folder, {"--data", "data", "--out", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "94 of the 96 records"));
  write_bytes(folder / "data/train-images-idx3-ubyte", images + "more");
  f = train(folder, {"--data", "data", "--out", "r"});
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "goes on"));
  EXPECT_FALSE(std::filesystem::exists(folder / "r"));  // nothing was begun
}

// Where the data package is installed, it is hidden from the program, if the system lets us.
TEST(Run, WithoutDataTheGeneratedTaskIsTrained) {
  const bool installed = has_fashion_mnist(kFashionMnistFolder);
  TemporaryFolder folder;
  const Finished trained =
      rein(folder,
           {"train", "--limit", "64", "--hidden", "8", "--batch-size", "16", "--epochs", "1",
            "--out", "r"},
           [installed] {
             if (installed &&
                 (unshare(CLONE_NEWNS) != 0 ||
                  mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                  mount("none", std::string(kFashionMnistFolder).c_str(), "tmpfs", 0, "") != 0))
               _exit(99);
           });
  if (trained.code == 99) GTEST_SKIP() << "the data is here, and cannot be hidden without root";
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_TRUE(contains(trained.err, "apt-get install dataset-fashion-mnist"));
  EXPECT_TRUE(contains(read_bytes(folder / "r/settings.toml"), "data = 'generated'"));
  EXPECT_EQ(rein(folder, {"eval", "r"}).out, line_with(trained.out, "test accuracy ") + "\n");
}

TEST(Run, ThatIsToGoOnWithNaNSaysWhatBecameOfIt) {
  TemporaryFolder folder;
  const std::vector<std::string> wild{"--clip", "none", "--learning-rate", "1e38"};
  const auto with = [&](const std::string& policy, const std::string& out) {
    return with_last(wild, {"--non-finite", policy, "--out", out});
  };
  const Finished f = train(folder, with("propagate", "r"));
  EXPECT_EQ(f.code, 0) << f.err;
  EXPECT_TRUE(f.out.ends_with("run r\n")) << f.out;
  ASSERT_FALSE(f.err.empty());
  EXPECT_EQ(lines(f.err).back().find("rein: the weights are not finite, 'hidden/"), 0u) << f.err;
  EXPECT_FALSE(contains(train(folder, {"--non-finite", "propagate", "--out", "s"}).err, "finite"));
  EXPECT_FALSE(contains(train(folder, with("zero", "t")).err, "weights are not finite"));
}

}  // namespace
}  // namespace rein::test
