// How fast gradients are processed and applied, against memory.
#pragma once

#include <cstdint>
#include <string>

namespace rein::app {

struct OptimizerBenchSettings {
  int64_t parameters = 20'000'000;
  std::string clip = "global:5";  // these two as of `rein train`
  std::string rule = "adam";
  int threads = 0;  // 0: all
  double seconds = 4;
};

struct OptimizerBench {
  std::string clip, rule;
  int threads = 0;
  int64_t parameters = 0, tensors = 0;
  double ms_min = 0, ms_median = 0;     // clip and rule together
  double process_ms = 0, apply_ms = 0;  // of the fastest of each
  double bytes = 0;         // that move at least: gradients read once for the norm (every clip, and
                            // none, measures it) and once with everything else; parameters and
                            // what changes of the states of clip and rule read and written; once
                            // more what the clip changes, and twice the deltas of a rule that looks
                            // at whole variables. What either reads besides does not count
  double stream_gbps = 0;   // of an in-place stream over more than the caches, in the same process
  double read_gbps = 0;     // of reading alone
  double share = 0;         // of the time that the bytes need at the stream's rate, fastest of each
  double share_median = 0;  // the same for each step and the stream just before it: what a machine
                            // that is faster at times does not distort
  int64_t allocations = 0;
};

/// Random gradients for 50 equal matrices, the same in every step, clipped and applied in turns
/// with the stream. Throws UsageError for settings that make no sense.
OptimizerBench bench_optimizer(const OptimizerBenchSettings& settings);

/// One JSON object on one line, with the fields by their names.
std::string as_json(const OptimizerBench& result);

}  // namespace rein::app
