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

/// What `rule` returns; its RuleViolation becomes an error of the function `op` of ops.h. For
/// functions that look at shapes before they add a node.
template <class F>
auto apply_rule(std::string_view op, std::span<const Value> in, Where where, F&& rule) {
  try {
    return rule();
  } catch (const RuleViolation& violation) {
    std::vector<Spec> specs;
    for (const Value& v : in) specs.push_back(v.spec());
    throw rule_error(op, violation.what(), specs, where);
  }
}

}  // namespace rein
