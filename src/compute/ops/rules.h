// What the ops share.
#pragma once

#include "rein/compute/op.h"
#include "rein/compute/ops.h"

namespace rein {

/// `axis`, counted from the end if negative; RuleViolation if there is no such axis.
int resolve_axis(int axis, int rank);
/// Sorted and unique, all of them if empty.
std::vector<int> resolve_axes(std::span<const int> axes, int rank);
/// The shape that `a` and `b` stretch to, aligned at the right, or RuleViolation.
Shape broadcast(const Shape& a, const Shape& b);
/// Sums `x` over the axes that broadcasting stretched, so that it has `shape` again: the way back
/// of every broadcast.
Value sum_to(Value x, const Shape& shape);

void require_floating(const Spec& s);
void require_same_dtype(const Spec& a, const Spec& b);
void require_integer(const Spec& s);

}  // namespace rein
