// The rows of the matrix that wrappers_test.cpp goes through: clips, rules, and what is around
// them.
#pragma once

#include <span>
#include <vector>

#include "rein/rein.h"

namespace rein::matrix {

inline constexpr int kSteps = 6;

struct ClipRow {
  const char* name;
  AnyTransform (*make)();             // tight enough to change something
  AnyTransform (*above)() = nullptr;  // with a limit above every norm
  bool changes = true;                // not one that only looks
};
std::span<const ClipRow> clips();
inline AnyTransform no_clip() { return chain(); }

struct RuleRow {
  AnyRule rule;
  bool with_every_clip = false;
};
std::vector<RuleRow> rules();

struct WrapperRow {
  const char* name;
  AnyRule (*around)(AnyRule rule) = [](AnyRule rule) { return rule; };
  StepOptions options{};
  int micro_batches = 1;  // of each rank
  bool moves = true;      // parameters otherwise than without it
  int bad_step = -1;      // whose batch has a NaN
  int ranks = 1;
  bool to_the_bit = true;  // as by hand; or in another order of sums
};
std::span<const WrapperRow> wrappers();  // the first is none

}  // namespace rein::matrix
