// Clips that can be differentiated: the functions of rein/process/clip.h on values, with
// TensorFlow's formulas. All of them are compositions of ops, so second derivatives exist. Norms of
// zeros have the derivative 0. A clip_norm that is negative or NaN throws InvalidArgument; infinity
// clips nothing.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rein/compute/ops.h"

namespace rein {

/// x clip_norm / max(|x|, clip_norm), |x| the L2 norm over `axes` (empty: all). The derivative at
/// x = 0 is 1.
Value clip_by_norm(Value x, double clip_norm, std::vector<int> axes = {},
                   Where where = Where::here());

/// The same with the average norm |x| / n, n the number of elements.
Value clip_by_average_norm(Value x, double clip_norm, Where where = Where::here());

/// sqrt(sum of |x|^2 over all values). Throws InvalidArgument if there is none.
Value global_norm(std::span<const Value> values, Where where = Where::here());

struct ClippedValues {
  Values values;
  Value norm;  // before clipping
};
/// Every value times clip_norm / max(norm, clip_norm), norm being that of all of them together, or
/// `use_norm`. An infinite norm makes everything NaN, as in TensorFlow.
ClippedValues clip_by_global_norm(std::span<const Value> values, double clip_norm,
                                  std::optional<Value> use_norm = {}, Where where = Where::here());

}  // namespace rein
