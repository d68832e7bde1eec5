#include "rein/nn/clip.h"

#include <fmt/format.h>

#include <cmath>

namespace rein {
namespace {

void check(std::string_view op, double clip_norm, Where where) {
  if (!(clip_norm >= 0))
    throw InvalidArgument(
        op, fmt::format("clip_norm is {}; it must be 0 or more (infinity: no clipping)", clip_norm),
        where);
}

// The square root that has the derivative 0 at 0: there the root is taken of 1 instead, where its
// derivative is finite, and thrown away.
Value norm_of(const Value& sum_of_squares, Where where) {
  const Value one = ones(sum_of_squares.spec(), sum_of_squares.graph());
  const Value positive = greater(sum_of_squares, 0.0, where);
  const Value root = sqrt(rein::where(positive, sum_of_squares, one, where), where);
  return rein::where(positive, root, sum_of_squares, where);
}

}  // namespace

Value clip_by_norm(Value x, double clip_norm, std::vector<int> axes, Where where) {
  check("clip_by_norm", clip_norm, where);
  if (std::isinf(clip_norm)) return x;
  const Value squares =
      reduce_sum(square(x, where), {.axes = std::move(axes), .keepdims = true}, where);
  return div(mul(x, clip_norm, where), maximum(norm_of(squares, where), clip_norm, where), where);
}

Value clip_by_average_norm(Value x, double clip_norm, Where where) {
  check("clip_by_average_norm", clip_norm, where);
  if (std::isinf(clip_norm)) return x;
  const Value norm = norm_of(reduce_sum(square(x, where), {}, where), where);
  const Value average = div(norm, static_cast<double>(x.spec().size()), where);
  return div(mul(x, clip_norm, where), maximum(average, clip_norm, where), where);
}

Value global_norm(std::span<const Value> values, Where where) {
  if (values.empty()) throw InvalidArgument("global_norm", "there are no values", where);
  Value sum = reduce_sum(square(values[0], where), {}, where);
  for (const Value& x : values.subspan(1))
    sum = add(sum, reduce_sum(square(x, where), {}, where), where);
  return norm_of(sum, where);
}

ClippedValues clip_by_global_norm(std::span<const Value> values, double clip_norm,
                                  std::optional<Value> use_norm, Where where) {
  check("clip_by_global_norm", clip_norm, where);
  const Value norm = use_norm ? *use_norm : global_norm(values, where);
  ClippedValues result{{values.begin(), values.end()}, norm};
  if (std::isinf(clip_norm)) return result;
  // norm - norm is 0, or NaN where the norm is not finite.
  const Value scale =
      add(div(clip_norm, maximum(norm, clip_norm, where), where), sub(norm, norm, where), where);
  for (Value& x : result.values) x = mul(x, scale, where);
  return result;
}

}  // namespace rein
