// The command line and configuration files.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/program.h"
#include "rein/kernels/precision.h"

namespace rein::test {
namespace {

namespace fs = std::filesystem;

TEST(Options, VersionAndHelp) {
  TemporaryFolder folder;
  EXPECT_EQ(rein(folder, {"--version"}).out, "rein 0.1.0\n");
  const Finished help = rein(folder, {"train", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* option : {"--clip", "--epochs", "--batch-size", "--learning-rate", "--hidden",
                             "--optimizer", "--seed", "--threads", "--data", "--out", "--config",
                             "--set", "--limit", "--force", "--log"})
    EXPECT_TRUE(contains(help.out, option));
}

// The library for wide products and its setting decide which instructions a process may use.
TEST(Options, NarrowProductsNeedAUnit) {
  TemporaryFolder folder;
  const auto forbid = [] { setenv("DNNL_MAX_CPU_ISA", "AVX2", 1); };
  const std::vector<std::string> bench{"bench",     "step", "--shape",     "tiny",
                                       "--seconds", "0.01", "--precision", "bf16x3"};
  for (const auto& arguments :
       {bench,
        {"bench", "kernel", "--precision", "bf16"},
        {"train", "--data", "generated", "--precision", "bf16", "--out", "r"}}) {
    const Finished f = rein(folder, arguments, forbid);
    EXPECT_EQ(f.code, 2);
    EXPECT_TRUE(contains(f.err,
                         "neither AMX nor AVX512-BF16 for products of bfloat16, or "
                         "DNNL_MAX_CPU_ISA forbids it; take f32"))
        << f.err;
  }
  EXPECT_FALSE(fs::exists(folder / "r"));
  std::vector<std::string> emulated = bench;
  emulated.insert(emulated.end(), {"--emulate", "--json"});
  const Finished f = rein(folder, emulated, forbid);
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(nlohmann::json::parse(f.out)["precision"], "bf16x3");
}

TEST(Options, NarrowProductsTakeTheFirstUnitThatIsAllowed) {
  TemporaryFolder folder;
  const auto unit_under = [&](const char* isa) {
    const Finished f = rein(folder,
                            {"bench", "step", "--shape=tiny", "--threads=1", "--seconds=0",
                             "--json", "--precision=bf16"},
                            [&] { setenv("DNNL_MAX_CPU_ISA", isa, 1); });
    EXPECT_EQ(f.code, 0) << f.err;
    return nlohmann::json::parse(f.out)["unit"];
  };
  for (const auto& [unit, isa] : {std::pair{NarrowUnit::avx512_bf16, "AVX512_CORE_BF16"},
                                  {NarrowUnit::amx, "AVX512_CORE_AMX"}}) {
    if (const std::string why = why_not({Precision::bf16, false, unit}); !why.empty())
      GTEST_SKIP() << why;
    EXPECT_EQ(unit_under(isa), to_string(unit));
  }
}

struct Row {
  std::vector<std::string> arguments;
  const char* error;
};

// Each ends with exit code 2, tells what to do, and leaves no run behind.
TEST(Options, WrongOnesAreUsageErrors) {
  TemporaryFolder folder;
  const Row rows[] = {
      {{}, "Subcommands:"},
      {{"trian"}, "did you mean 'train'"},
      {{"train", "--epoch", "3"}, "'--epoch' is not expected here; did you mean '--epochs'?"},
      {{"train", "--learning_rate=1"}, "did you mean '--learning-rate'"},
      {{"train", "extra"}, "'extra' is not expected"},
      {{"train", "--epochs"}, "--epochs"},
      {{"train", "--precision", "fp8"}, "precision: 'fp8' is none of f32, bf16, bf16x3"},
      {{"train", "--epochs", "3x"}, "epochs: '3x' is not a whole number"},
      {{"train", "--epochs", "0"}, "0 is not from 1"},
      {{"train", "--epochs", "99999999999999999999"}, "is not a whole number"},
      {{"train", "--batch-size=-1"}, "-1 is not from 1"},
      {{"train", "--learning-rate", "nan"}, "nan is not from"},
      {{"train", "--learning-rate", "-0.1"}, "-0.1 is not from"},
      {{"train", "--optimizer", "adan"}, "did you mean 'adam'"},
      {{"train", "--clip", "global:-1"}, "as in global:C: all gradients together"},
      {{"train", "--clip", "global:nan"}, "'global:nan' needs its C, a positive number"},
      {{"train", "--clip", "global:"}, "'global:' needs its C"},
      {{"train", "--clip", "global"}, "clip: 'global' needs its C"},
      {{"train", "--clip", "global:5x"}, "'global:5x' needs its C"},
      {{"train", "--clip", "none:1"}, "'none:1' is none of these"},
      {{"train", "--clip", "glob:1"}, "'glob:1' is none of these"},
      {{"train", "--clip", "glob:1"}, "value:C       every element"},
      {{"train", "--clip", "zclip:0"}, "as in zclip:C: global norms more than C deviations"},
      {{"train", "--epochs", "0", "--out", ""}, "--out: the name is empty"},
      {{"train", "--set", "epoch=1"}, "unknown setting 'epoch'; did you mean 'epochs'?"},
      {{"train", "--set", "epochs"}, "key=value is expected"},
      {{"train", "--epochs", "0", "--clip", "value:1", "--clip", "global:5"},
       "--clip is given 2 times; give it once, several clips with + between them"},
      {{"train", "--epochs=0", "--seed", "1", "--epochs", "0"}, "--epochs is given 2 times"},
      {{"train", "--config", "a", "--config", "b"}, "--config is given 2 times; give it once\n"},
      {{"train", "--set", "seed=1", "--set", "hidden=4", "--set", "seed=1", "--epochs=0"},
       "--set seed is given 2 times; give it once\n"},
      {{"bench", "step", "--shape", "tiny", "--shape", "tiny"}, "--shape is given 2 times"},
      {{"train", "--data", "generated", "--limit", "10"}, "more than the 10 training examples"},
      {{"eval"}, "run is required"},
      {{"predict", "r"}, "file is required"},
      {{"predict", "r", "f", "--logits"}, "--json"},
      {{"eval", "r", "--threads", "-1"}, "--threads"},
      {{"bench"}, "step"},
      {{"bench", "stop"}, "did you mean 'step'"},
      {{"bench", "step", "--shape", "none"}, "seed"},
      {{"bench", "step", "--cell", "gru"}, "lstm"},
      {{"bench", "optimizer", "--params", "49"}, "50 tensors"},
      {{"bench", "optimizer", "--clip", "sideways"}, "sideways"},
      {{"bench", "stream", "--threads", "-1"}, "not in range"},
  };
  for (const Row& row : rows) {
    const Finished f = rein(folder, row.arguments);
    std::string line;
    for (const auto& a : row.arguments) line += a + " ";
    EXPECT_EQ(f.code, 2) << line << f.err;
    EXPECT_TRUE(contains(f.err, row.error)) << line;
    EXPECT_EQ(f.out, "") << line;
  }
  EXPECT_FALSE(fs::exists(folder / "runs"));
}

TEST(Options, FilesSettingsAndFlagsCountInThisOrder) {
  TemporaryFolder folder;
  write_bytes(folder / "c.toml",
              "data = 'generated'\nlimit = 32\nbatch_size = 16\nhidden = 4\nseed = 2\n"
              "epochs = 3\nlearning_rate = 1\n");
  const Finished f = rein(folder, {"train", "--config", "c.toml", "--set", "seed=3", "--set",
                                   "epochs=2", "--epochs", "1", "--out=r"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_TRUE(contains(read_bytes(folder / "r/settings.toml"),
                       "data = 'generated'\nclip = 'global:5'\n"
                       "optimizer = 'adam'\nlearning_rate = 1.0\nschedule = 'constant'\n"
                       "warmup = 0\n"));
  EXPECT_TRUE(contains(read_bytes(folder / "r/settings.toml"),
                       "average = 0.0\nepochs = 1\nbatch_size = 16\n"
                       "hidden = 4\nlayers = 1\nlimit = 32\nseed = 3\nthreads = 0\n"));
  // The settings of a run are a configuration, and give the same run.
  ASSERT_EQ(rein(folder, {"train", "--config", "r/settings.toml", "--out", "again"}).code, 0);
  EXPECT_EQ(read_bytes(folder / "r/model.safetensors"),
            read_bytes(folder / "again/model.safetensors"));
}

TEST(Options, ErrorsInAFileNameThePlace) {
  TemporaryFolder folder;
  const auto error = [&](std::string_view text) {
    write_bytes(folder / "c.toml", text);
    const Finished f = rein(folder, {"train", "--config", "c.toml"});
    EXPECT_EQ(f.code, 2) << f.err;
    return f.err;
  };
  EXPECT_TRUE(contains(error("epochs = 3\nhiden = 4\n"),
                       "c.toml: line 2, column 1: unknown setting 'hiden'; did you mean 'hidden'"));
  EXPECT_TRUE(contains(error("epochs = 'three'\n"), "epochs: a whole number is expected"));
  EXPECT_TRUE(contains(error("epochs = 3.5\n"), "epochs: a whole number is expected"));
  EXPECT_TRUE(contains(error("\nclip = 'global:-5'\n"), "line 2, column 1: clip: 'global:-5'"));
  EXPECT_TRUE(contains(error("epochs = \n"), "c.toml: line 1"));
  EXPECT_EQ(rein(folder, {"train", "--config", "none.toml"}).code, 5);
}

TEST(Options, ARunIsNotOverwrittenUnlessForced) {
  TemporaryFolder folder;
  ASSERT_EQ(train(folder, {"--out", "r"}).code, 0);
  const std::string weights = read_bytes(folder / "r/model.safetensors");
  const std::string metrics = read_bytes(folder / "r/metrics.jsonl");
  const Finished refused = train(folder, {"--out", "r", "--seed", "2"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.err, "--force"));
  EXPECT_EQ(read_bytes(folder / "r/model.safetensors"), weights);
  EXPECT_EQ(read_bytes(folder / "r/metrics.jsonl"), metrics);

  EXPECT_EQ(train(folder, {"--out", "r", "--seed", "2", "--force"}).code, 0);
  EXPECT_NE(read_bytes(folder / "r/model.safetensors"), weights);
  EXPECT_TRUE(contains(read_bytes(folder / "r/settings.toml"), "seed = 2"));
}

TEST(Options, RunsAreNumbered) {
  TemporaryFolder folder;
  EXPECT_TRUE(contains(train(folder, {}).out, "\nrun runs/1\n"));
  EXPECT_TRUE(contains(train(folder, {}).out, "\nrun runs/2\n"));
  EXPECT_TRUE(fs::exists(folder / "runs/2/model.safetensors"));
}

TEST(Options, AFolderThatCannotBeMadeIsAnIoError) {
  TemporaryFolder folder;
  write_bytes(folder / "file", "");
  const Finished f = train(folder, {"--out", "file/r"});
  EXPECT_EQ(f.code, 5);
  EXPECT_TRUE(contains(f.err, "file/r"));
}

TEST(Options, BenchPrintsOneObject) {
  TemporaryFolder folder;
  const Finished f =
      rein(folder, {"bench", "step", "--shape=tiny", "--threads=1", "--seconds=0", "--json"});
  EXPECT_EQ(f.code, 0) << f.err;
  const auto json = nlohmann::json::parse(f.out);
  for (const char* key : {"shape", "batch", "precision", "unit", "threads", "callers", "ms_min",
                          "ms_steady", "ms_median", "gflop", "gflops", "ceiling_gflops", "share",
                          "peak_mb", "allocations", "start_ms", "phases"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json.size(), 17u);
  EXPECT_TRUE(json["unit"].is_null());  // that of narrow products
  for (const char* phase : {"lstm", "lstm_grad", "matmul", "process", "apply"})
    EXPECT_GT(json["phases"].value(phase, 0.0), 0) << phase;
}

TEST(Options, BenchRefusesWhatTheMachineCannotHold) {
  TemporaryFolder folder;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"bench", "optimizer", "--params=100000000000000"},
        {"bench", "step", "--shape=ptb", "--batch=1048576"}}) {
    const Finished f = rein(folder, arguments);
    EXPECT_EQ(f.code, 2) << f.err;
    EXPECT_TRUE(contains(f.err, "GB at least, and the machine has"));
  }
}

#ifndef REIN_SANITIZED  // sanitizers keep memory of their own
TEST(Options, AStepOfSeedTakesLessThan48Megabytes) {
  TemporaryFolder folder;
  const Finished f =
      rein(folder, {"bench", "step", "--shape=seed", "--threads=1", "--seconds=0", "--json"});
  EXPECT_EQ(f.code, 0) << f.err;
  const auto json = nlohmann::json::parse(f.out);
  EXPECT_LT(json["peak_mb"], 48);
  EXPECT_EQ(json["allocations"], 0);
}
#endif

TEST(Options, BenchRefusesWhatMakesNoSense) {
  TemporaryFolder folder;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"step", "--seconds=nan"},
        {"step", "--emulate"},
        {"kernel", "--emulate"},
        {"step", "--per-example", "neither"}}) {
    std::vector<std::string> all = {"bench"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Finished f = rein(folder, all);
    EXPECT_EQ(f.code, 2) << arguments.back();
    EXPECT_TRUE(contains(f.err, "Try 'rein bench " + arguments[0] + " --help'."));
  }
}

TEST(Options, BenchClipsEachExample) {
  TemporaryFolder folder;
  const auto phases = [&](const char* way) {
    const Finished f = rein(folder, {"bench", "step", "--shape=forecast", "--batch=3",
                                     "--threads=1", "--seconds=0", "--json", "--per-example", way});
    EXPECT_EQ(f.code, 0) << f.err;
    const auto json = nlohmann::json::parse(f.out);
    EXPECT_EQ(json["batch"], 3);
    EXPECT_EQ(json["allocations"], 0);
    return json["phases"];
  };
  EXPECT_TRUE(phases("together").contains("example_norms"));
  EXPECT_FALSE(phases("one-by-one").contains("example_norms"));
}

TEST(Options, BenchMeasuresBesideOtherCallers) {
  TemporaryFolder folder;
  const Finished f = rein(folder, {"bench", "step", "--shape=tiny", "--threads=2", "--callers=3",
                                   "--seconds=0", "--json"});
  EXPECT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(nlohmann::json::parse(f.out)["callers"], 3);
}

TEST(Options, BenchMeasuresMemoryAndTheOptimizer) {
  TemporaryFolder folder;
  const Finished stream = rein(folder, {"bench", "stream", "--threads=1", "--seconds=0", "--json"});
  EXPECT_GT(nlohmann::json::parse(stream.out)["in_place_gbps"], 0) << stream.err;
  const auto optimizer = [&](const char* clip, const char* rule) {
    const Finished f = rein(folder, {"bench", "optimizer", "--params=100000", "--threads=2",
                                     "--seconds=0", "--json", "--rule", rule, "--clip", clip});
    EXPECT_EQ(f.code, 0) << f.err;
    return nlohmann::json::parse(f.out);
  };
  // Beside numbers for each parameter, rules remember a count for each of the 50 tensors.
  constexpr double kParameters = 100000, kCounts = 2000;
  for (const char* clip : {"none", "value:1", "norm:1", "average:1", "global:0.01"}) {
    const auto json = optimizer(clip, "momentum");
    EXPECT_EQ(json["allocations"], 0) << clip;
    EXPECT_GT(json["share"], 0);
    EXPECT_GT(json["share_median"], 0);
    // A norm is measured whatever the clip: read; gradient: read; momentum, parameter: both.
    EXPECT_NEAR(json["bytes"], kParameters * 24, kCounts) << clip;
  }
  // These change nearly every number, in every step; the last two read the parameters.
  for (const char* clip : {"value:1e-6", "norm:1e-4", "agc:1", "value:1+agc:1"})
    EXPECT_NEAR(optimizer(clip, "momentum")["bytes"], kParameters * 28, kCounts) << clip;
  // It remembers a number for each, alone or among others.
  for (const char* clip : {"spikes:1e9", "global:1+spikes:1e9"})
    EXPECT_NEAR(optimizer(clip, "sgd")["bytes"], kParameters * (16 + 8), kCounts) << clip;

  const std::pair<const char*, double> rules[] = {
      {"sgd", 16},           {"adam", 32},     {"adamax", 32},  {"amsgrad", 40},
      {"rprop", 32},         {"adagrad", 24},  {"lion", 24},    {"ftrl", 32},
      {"schedule_free", 32}, {"lars", 24 + 8}, {"lamb", 32 + 8}};  // the deltas of whole variables
                                                                   // wait in memory
  for (const auto& [rule, each] : rules)
    EXPECT_NEAR(optimizer("global:1", rule)["bytes"], kParameters * each, kCounts) << rule;
  // Means of the rows and columns of 50 matrices [5, 400], in double.
  EXPECT_NEAR(optimizer("global:1", "adafactor")["bytes"],
              kParameters * (16 + 8) + 2.0 * 50 * (5 + 400) * 8, kCounts);
}

TEST(Options, BenchMeasuresKernels) {
  TemporaryFolder folder;
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::bf16x3}) {
    if (!why_not({precision}).empty()) continue;
    const Finished f = rein(folder, {"bench", "kernel", "--seconds=0", "--json", "--precision",
                                     std::string(to_string(precision))});
    ASSERT_EQ(f.code, 0) << f.err;
    const auto json = nlohmann::json::parse(f.out);
    EXPECT_GT(json.size(), 10u);
    size_t products = 0;
    for (const auto& kernel : json) {
      EXPECT_GT(kernel["gflops"].get<double>() + kernel["ns_an_element"].get<double>(), 0)
          << kernel;
      products += kernel["gflops"] > 0;
    }
    EXPECT_EQ(products == json.size(), precision != Precision::f32);
  }
}

TEST(Options, AStepAllocatesNothing) {
  TemporaryFolder folder;
  for (const char* shape : {"tiny", "charrnn"}) {  // dense gradients; rows of an embedding
    const Finished f = rein(folder, {"bench", "step", std::string("--shape=") + shape,
                                     "--threads=2", "--seconds=0", "--json"});
    EXPECT_EQ(nlohmann::json::parse(f.out)["allocations"], 0) << shape;
  }
}

}  // namespace
}  // namespace rein::test
