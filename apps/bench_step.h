// How fast one training step is, against the products that this machine can do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench_network.h"

namespace rein::app {

struct StepBenchSettings {
  std::string shape = "seed";
  int64_t batch = 0;            // 0: that of the shape
  StepWay way = StepWay::mean;  // how gradients are clipped
  ProductOptions products{};
  int threads = 0;  // 0: all
  double seconds = 4;
  // Measure the cost of a Monitor too, in some 400 more rounds of clips, and of `inspect`.
  bool monitor = false;
  int callers = 1;  // threads that each train a network of their own meanwhile, this one included
};

struct Phase {  // what all ops of one name take of a step, the mean of four
  std::string name;
  double ms = 0;
};

struct StepBench {
  std::string shape;
  int64_t batch = 0;
  ProductOptions products{};
  std::string one_by_one_because;  // where examples were to be clipped together, and were not
  int threads = 0, callers = 1;
  double ms_min = 0, ms_steady = 0, ms_median = 0;  // see Times
  double gflop = 0;                                 // really needed by a step's products
  double gflops = 0;                                // those over ms_steady, a second
  double ceiling_gflops = 0;                        // of products in the same process, see Ceiling
  double share = 0;                                 // gflops / ceiling_gflops
  double peak_mb = 0;                               // resident memory of the process
  double start_ms =
      0;  // processor time from the start of the process to the end of step 1, but for data
  int64_t allocations = 0;  // calls of operator new in a step, once warm
  // Where that was asked for: what a Monitor adds to a step, and one look inside the sequence.
  std::optional<double> monitor_ms{}, inspect_ms{};
  std::vector<Phase> phases;  // in the order of a step
};

/// The shapes that there are: "seed, charrnn, ...".
std::string shape_names();

/// Trains a network of a named shape for about `seconds`: LSTM, linear layer, mean loss, clip by
/// the global norm, Adam. Steps and the products of the ceiling take turns. Throws UsageError,
/// naming the shapes there are, for another name or a negative number of threads.
StepBench bench_step(const StepBenchSettings& settings);

/// One JSON object on one line, with the fields by their names; of products the precision, and the
/// unit if it is narrow; phases as an object of milliseconds.
std::string as_json(const StepBench& result);

}  // namespace rein::app
