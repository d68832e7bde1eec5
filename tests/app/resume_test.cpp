// Runs that stop and go on.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/program.h"
#include "model.h"
#include "rein/data/dataset.h"
#include "rein/data/images.h"
#include "rein/io/safetensors.h"
#include "rein/io/state_file.h"
#include "rein/rein.h"

namespace rein::test {
namespace {

using nlohmann::json;
using Arguments = std::vector<std::string>;

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Everything in it remembers something from step to step.
const Arguments kSettings{"--limit",      "200",
                          "--clip",       "value:0.05+zclip:2",
                          "--optimizer",  "adamw:weight_decay=0.1",
                          "--average",    "0.9",
                          "--loss-scale", "1024",
                          "--accumulate", "2",
                          "--warmup",     "9",
                          "--rollback",   "on:every=5",
                          "--non-finite", "skip:most_skips=3"};

std::string weights(const TemporaryFolder& folder, const std::string& run) {
  return read_bytes(folder / run / "model.safetensors");
}

std::vector<json> metrics(const TemporaryFolder& folder, const std::string& run) {
  std::vector<json> found;
  std::istringstream in(read_bytes(folder / run / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) found.push_back(json::parse(line));
  return found;
}

TEST(Resume, TwoEpochsAreOneAndAnotherToTheBit) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, kSettings + Arguments{"--epochs", "2", "--out", "whole"}).code, 0);
  ASSERT_EQ(train(folder, kSettings + Arguments{"--epochs", "1", "--out", "r"}).code, 0);
  EXPECT_NE(weights(folder, "r"), weights(folder, "whole"));
  const Finished f = rein(
      folder, {"train", "--resume", "r/checkpoint.safetensors", "--epochs", "2", "--threads", "2"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_TRUE(contains(f.out, "; after step 12\n")) << f.out;
  EXPECT_EQ(weights(folder, "r"), weights(folder, "whole"));
  const auto whole = metrics(folder, "whole"), parts = metrics(folder, "r");
  ASSERT_EQ(parts.size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    for (const char* key : {"epoch", "step", "loss", "test_correct", "clipped_share"})
      EXPECT_EQ(parts[i][key], whole[i][key]) << key;
}

TEST(Resume, AfterASignalInTheMiddleOfAnEpoch) {
  TemporaryFolder folder;
  const Arguments settings{"train", "--data", "generated",  "--limit",      "20000", "--hidden",
                           "8",     "--clip", "adaptive:1", "--batch-size", "16"};
  ASSERT_EQ(rein(folder, settings + Arguments{"--epochs", "1", "--out", "whole"}).code, 0);
  Program program(folder, settings + Arguments{"--epochs", "1", "--log", "my log", "--out", "r"});
  program.wait_until([&] { return program.out().find("training on") != std::string::npos; });
  program.send(SIGINT);
  const Finished stopped = program.wait();
  ASSERT_EQ(stopped.code, 130);
  EXPECT_TRUE(contains(stopped.err,
                       R"('rein train --resume r/checkpoint.safetensors --log "my log"' goes on)"));
  EXPECT_NE(weights(folder, "r"), weights(folder, "whole"));
  const Finished f = rein(folder, {"train", "--resume", "r/checkpoint.safetensors"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(weights(folder, "r"), weights(folder, "whole"));
  EXPECT_EQ(metrics(folder, "r").at(0)["loss"], metrics(folder, "whole").at(0)["loss"]);
}

TEST(Resume, OtherEpochsAreFineUnlessTheScheduleWouldHaveBeenAnother) {
  TemporaryFolder folder;
  const auto run = [&](const std::string& schedule, const std::string& name) {
    ASSERT_EQ(train(folder, {"--limit", "64", "--epochs", "1", "--warmup", "2", "--schedule",
                             schedule, "--out", name})
                  .code,
              0);
  };
  run("cosine", "r");
  const std::string file = read_bytes(folder / "r/checkpoint.safetensors");
  const Finished f =
      rein(folder, {"train", "--resume", "r/checkpoint.safetensors", "--epochs", "3"});
  EXPECT_EQ(f.code, 2);
  EXPECT_TRUE(contains(f.err,
                       "epochs: r/checkpoint.safetensors was trained with the schedule cosine over "
                       "1 epochs; over 3 its learning rates would have been others from the first "
                       "step on. The checkpoint is as it was: go on with --epochs 1"))
      << f.err;
  EXPECT_EQ(read_bytes(folder / "r/checkpoint.safetensors"), file);
  run("cosine:decay_steps=9", "own");
  EXPECT_EQ(rein(folder, {"train", "--resume", "own/checkpoint.safetensors", "--epochs", "3"}).code,
            0);
}

TEST(Resume, InAnotherPrecisionIsARunThatChangesItOnItsWay) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--out", "r"}).code, 0);
  const Finished f = rein(folder, {"train", "--resume", "r/checkpoint.safetensors", "--epochs", "2",
                                   "--precision", "bf16x3"});
  const ProductOptions narrow{.precision = Precision::bf16x3};
  if (const std::string why = why_not(narrow); !why.empty()) {
    EXPECT_EQ(f.code, 2);
    EXPECT_TRUE(contains(f.err, "precision: bf16x3: " + why)) << f.err;
    GTEST_SKIP() << why;
  }
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_TRUE(contains(f.out, "precision changes from f32 to bf16x3\n")) << f.out;

  // Both epochs in this process.
  const LabelledImages images = generate_strokes(Seed{1}, 64, 0).train;
  Variables variables{Seed{1}}, resumed;
  app::TrainSettings settings;
  settings.hidden = 8;
  const app::RowLstm model(variables, settings), same(resumed, settings);
  const auto train_epoch = [&](Step& step, int64_t epoch) {
    const DatasetPtr all = in_memory({images.images, images.labels});
    const DatasetPtr batches = batch(shuffle(all, Seed{1}, epoch), 16);
    for (int64_t i = 0; i < batches->size(); ++i) step.run(batches->get(i));
  };
  const auto step_of = [&](const ProductOptions& products) {
    return record([&](Value x, Value y) { return model.cost(x, y); }, variables,
                  ClipByGlobalNorm{.clip_norm = 5}, Adam{.learning_rate = 1e-3},
                  {.products = products});
  };
  Step wide = step_of({}), other = step_of(narrow);
  train_epoch(wide, 1);
  other.load_state(wide.state());
  train_epoch(other, 2);
  load_variables(folder / "r/model.safetensors", resumed);
  for (size_t i = 0; i < variables.size(); ++i) {
    const Tensor here = variables[i].read(), there = resumed[i].read();
    EXPECT_TRUE(std::ranges::equal(here.flat<float>(), there.flat<float>())) << variables[i].name();
  }
}

// Of the old run it takes weights and settings, and leaves it as it was.
TEST(From, ANewRunBeginsWithTheWeightsOfAnother) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--limit", "64", "--epochs", "1", "--clip", "value:1", "--schedule",
                           "cosine", "--out", "r"})
                .code,
            0);
  const std::string old = weights(folder, "r");
  // Too small a step to move a float.
  const Finished f = rein(folder, {"train", "--from", "r", "--clip", "global:1", "--learning-rate",
                                   "1e-30", "--out", "s"});
  ASSERT_EQ(f.code, 0) << f.err;
  const TensorFile before = read_safetensors(folder / "r/model.safetensors"),
                   after = read_safetensors(folder / "s/model.safetensors");
  ASSERT_EQ(before.tensors.size(), after.tensors.size());
  for (size_t i = 0; i < before.tensors.size(); ++i)
    EXPECT_TRUE(std::ranges::equal(before.tensors[i].tensor.flat<float>(),
                                   after.tensors[i].tensor.flat<float>()))
        << before.tensors[i].name;
  EXPECT_EQ(metrics(folder, "s").back()["step"], 4);  // its own count
  const std::string settings = read_bytes(folder / "s/settings.toml");
  for (const char* line : {"clip = 'global:1'", "hidden = 8", "schedule = 'cosine'", "limit = 64"})
    EXPECT_TRUE(contains(settings, line)) << settings;
  EXPECT_EQ(weights(folder, "r"), old);

  const auto error = [&](const Arguments& more, int code) {
    const Finished bad = rein(folder, Arguments{"train", "--out", "t", "--from"} + more);
    EXPECT_EQ(bad.code, code) << bad.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "t"));
    return bad.err;
  };
  EXPECT_TRUE(contains(error({""}, 2), "--from: the name is empty"));
  EXPECT_TRUE(contains(error({"nowhere"}, 5), "nowhere: there is no such folder"));
  EXPECT_TRUE(
      contains(error({"r", "--hidden", "9"}, 2), "hidden: the weights of r are of 8, not 9"));
  EXPECT_TRUE(
      contains(error({"r", "--layers", "2"}, 2), "layers: the weights of r are of 1, not 2"));
  EXPECT_TRUE(contains(error({"r", "--resume", "r"}, 2), "--resume"));
  std::filesystem::remove(folder / "r/model.safetensors");
  EXPECT_TRUE(contains(error({"r"}, 5), "holds no model.safetensors"));
}

TEST(Resume, WhatDoesNotFitIsAnErrorAndChangesNothing) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--limit", "64", "--epochs", "1", "--out", "r"}).code, 0);
  const std::string file = read_bytes(folder / "r/checkpoint.safetensors");
  const std::string settings = read_bytes(folder / "r/settings.toml");
  const auto error = [&](const Arguments& more, int code) {
    const Finished f =
        rein(folder, Arguments{"train", "--resume", "r/checkpoint.safetensors"} + more);
    EXPECT_EQ(f.code, code) << f.err;
    EXPECT_EQ(read_bytes(folder / "r/settings.toml"), settings);
    return f.err;
  };
  EXPECT_TRUE(contains(error({}, 2), "is at the end of epoch 1; give more --epochs"));
  EXPECT_TRUE(
      contains(error({"--epochs", "2", "--hidden", "9"}, 2),
               "hidden: r/checkpoint.safetensors was trained with 8, not 9; leave it as it was, "
               "or begin a new run with its weights by --from ('rein train --help' says at "
               "--resume what may change)"));
  EXPECT_TRUE(contains(error({"--epochs", "2", "--clip", "none"}, 2),
                       "clip: r/checkpoint.safetensors was trained with global:5, not none"));
  EXPECT_TRUE(contains(error({"--out", "other"}, 2), "--out"));
  EXPECT_TRUE(contains(error({"--epochs", "2", "--warmup", "3"}, 2),
                       "warmup: r/checkpoint.safetensors was trained with 0, not 3"));

  const std::string help = rein(folder, {"train", "--help"}).out;
  for (const char* flag : {"--data", "--precision", "--epochs", "--threads may be others"})
    EXPECT_TRUE(contains(help.substr(help.find("--resume")), flag)) << help;

  write_bytes(folder / "notes.txt", "no checkpoint");
  const Finished notes = rein(folder, {"train", "--resume", "notes.txt"});
  EXPECT_EQ(notes.code, 3);
  EXPECT_TRUE(
      contains(notes.err, "rein: notes.txt: checkpoint: byte 0: a header of ") &&
      contains(notes.err,
               "; give the checkpoint.safetensors in the folder of a run; if it is that, --from"))
      << notes.err;
  write_bytes(folder / "r/checkpoint.safetensors", file.substr(0, file.size() - 100));
  EXPECT_TRUE(contains(error({"--epochs", "2"}, 3), "r/checkpoint.safetensors"));
  write_bytes(folder / "r/checkpoint.safetensors", weights(folder, "r"));
  EXPECT_TRUE(contains(error({"--epochs", "2"}, 3), "r/checkpoint.safetensors"));
  // A checkpoint of another network under these settings: a name is the same length.
  std::string other = file;
  const std::string name = "step/parameters/rnn/bias";
  ASSERT_NE(other.find(name), std::string::npos);
  other.replace(other.find(name), name.size(), "step/parameters/rnn/mias");
  write_bytes(folder / "r/checkpoint.safetensors", other);
  const std::string text = error({"--epochs", "2"}, 3);
  EXPECT_TRUE(contains(text, "rnn/bias") && contains(text, "rnn/mias")) << text;
  StateDict no_steps = load_state(folder / "r/checkpoint.safetensors");
  const auto no_number = [&] {
    save_state(folder / "r/checkpoint.safetensors", no_steps);
    const std::string says = error({"--epochs", "2"}, 3);
    EXPECT_TRUE(contains(says, "metadata: no number 'step/step'; give the checkpoint.safetensors"))
        << says;
  };
  no_steps.at("step/step") = "twelve";
  no_number();
  no_steps.erase("step/step");
  no_number();
  std::filesystem::remove(folder / "r/checkpoint.safetensors");
  EXPECT_TRUE(contains(error({"--epochs", "2"}, 5),
                       "r/checkpoint.safetensors: there is no such file or folder"));
  const Finished f = rein(folder, {"train", "--resume", "r"});
  EXPECT_EQ(f.code, 5);
  EXPECT_TRUE(contains(f.err, "r: holds no checkpoint.safetensors: no epoch of this run was "))
      << f.err;
}

}  // namespace
}  // namespace rein::test
