// The clip of each example's gradient, as an op.
#pragma once

#include <vector>

#include "rein/compute/value.h"

namespace rein {

/// Of the norms of each example's gradient by each variable, float64 [batch] each. All of it is
/// float64 [batch].
struct ClippedNorms {
  Values factors;  // of each variable: what brings it to its limit, 0 if the example is not finite
  Value least;     // of the factors of an example
  Value norms;     // of an example, over all variables together
};
/// `limits` are of the variables, or one is of all together.
ClippedNorms clip_examples(const Values& norms, const std::vector<double>& limits);

}  // namespace rein
