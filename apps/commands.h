// The subcommands. Each returns the exit code.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "bench_optimizer.h"
#include "bench_step.h"
#include "checkpoint.h"
#include "train_settings.h"

namespace rein::app {

enum ExitCode : int {
  kOk = 0,
  kInternal = 1,
  kUsage = 2,
  kData = 3,
  kDiverged = 4,
  kIo = 5,
  kSignal = 128  // plus its number
};

struct TrainRequest {
  TrainSettings settings;
  std::filesystem::path out;               // empty: the next free number under runs/
  bool force = false;                      // replace a run that is there
  std::optional<Checkpoint> checkpoint{};  // to go on from, in the folder of its run
  std::filesystem::path from;              // a run whose weights are the first; empty: random ones
  std::filesystem::path log;               // a line of JSON for every step; empty: none
};
int train(TrainRequest request);

struct EvalRequest {
  std::filesystem::path run;
  std::string data;  // instead of what the run was trained on
  int threads = 0;
};
int eval(const EvalRequest& request);

struct PredictRequest {
  std::filesystem::path run, file;
  bool json = false;
  bool logits = false;  // in JSON
  int threads = 0;
};
int predict(const PredictRequest& request);

struct ReplayRequest {
  std::filesystem::path run;  // or its bundle
  int threads = 0;
};
/// Computes the step of a bundle again and names where the first number that is not finite arises.
int replay(const ReplayRequest& request);

struct BenchStepRequest {
  StepBenchSettings settings;
  std::string cell = "lstm";
  bool json = false;
};
int measure_step(const BenchStepRequest& request);

struct BenchOptimizerRequest {
  OptimizerBenchSettings settings;
  bool json = false;
};
int measure_optimizer(const BenchOptimizerRequest& request);

struct BenchStreamRequest {
  int threads = 0;
  double seconds = 2;
  bool json = false;
};
int measure_stream(const BenchStreamRequest& request);

struct BenchKernelRequest {
  ProductOptions products{};
  int threads = 1;
  double seconds = 0.2;  // a kernel
  bool json = false;
};
int measure_kernels(const BenchKernelRequest& request);

}  // namespace rein::app
