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

// ---------------------------------------------------------------- clips of the gradient alone
// The numbers pass as they are; what flows back is clipped. Inside a recurrent step they clip the
// error signal at every time step. A limit that is negative or NaN throws InvalidArgument.

/// Values whose gradient is clamped to [-limit, limit]; a NaN stays.
Value clip_gradient_by_value(Value x, double limit, Where where = Where::here());

/// Values [B, ...] whose gradients are scaled, row by row of B, by limit / max(norm, limit), norm
/// being the L2 norm of that row of all of them together, taken in float64. A row whose norm is not
/// finite stays as it is. Throws InvalidArgument if there are no values, or they differ in B or
/// dtype.
Values clip_gradient_by_row_norm(std::span<const Value> values, double limit,
                                 Where where = Where::here());

/// The numbers of `y`; the gradient goes to `x`, of the same shape, as if the two were the same
/// (straight-through: Bengio, Leonard, Courville, "Estimating or propagating gradients through
/// stochastic neurons", 2013).
Value straight_through(Value y, Value x, Where where = Where::here());

}  // namespace rein
