// What a Monitor has seen, as numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rein/process/sequence_report.h"

namespace rein {

/// Of n numbers in rising order the q-quantile lies at q (n - 1), between two of them in
/// proportion. Numbers that are not finite are left out; of no numbers all are 0.
struct Quantiles {
  double p05 = 0, p50 = 0, p95 = 0, p99 = 0, max = 0;
};
Quantiles quantiles_of(std::span<const double> numbers);

struct VariableReport {
  std::string name;
  Quantiles norm{}, clipped_norm{};  // before and after; 0 in steps where the gradient is absent
  double last_norm = 0, last_clipped_norm = 0;
  double clip_rate = 0;    // share of the steps, of those not skipped, in which it became shorter
  double share = 0;        // median of (its norm / the global one)^p; 0 if p is infinite
  int64_t non_finite = 0;  // steps
  // |what a step added to it| / |its numbers before|, the newest; infinite if they were all 0
  std::optional<double> update{};
  std::optional<double> update50{};  // the median of the 16 newest, without infinite ones
};

/// Everything but `steps` and the updates is of the last `window` steps.
struct MonitorReport {
  int64_t steps = 0;   // all that were seen
  int64_t window = 0;  // the newest of them that are remembered
  Quantiles norm{}, clipped_norm{};
  double last_norm = 0, last_clipped_norm = 0;
  double order = 2;         // p of these norms
  double clip_rate = 0;     // share of the steps that were not skipped: a clip changed something
  bool only_scaled = true;  // whether clips did nothing but multiply all gradients by one factor
  // The norm that all clipped steps were left with, if it is one and they were only scaled (or
  // there is one variable alone).
  std::optional<double> limit{};
  double trend = 1;            // median norm of the newest quarter / that of the oldest
  int64_t non_finite = 0;      // steps
  int64_t skipped = 0;         // steps, by what it is around or before they came to it
  int64_t skipped_finite = 0;  // those of them that were finite
  // The first variable of the newest step that was not finite; empty if only its loss was not.
  std::string last_non_finite{};
  int64_t compared_step = 0;                 // the newest whose update was measured; 0: none yet
  std::vector<VariableReport> variables{};   // in their order
  std::optional<SequenceReport> sequence{};  // the newest that the monitor was given
  int64_t sequence_step = 0;                 // how many steps there were then
};

/// A table to read: a line for the whole, one for each variable, and those of the sequence.
std::string to_string(const MonitorReport& report);

}  // namespace rein
