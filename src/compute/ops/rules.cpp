#include "rules.h"

#include <algorithm>

namespace rein {

int resolve_axis(int axis, int rank) {
  require(axis >= -rank && axis < rank,
          "axis " + std::to_string(axis) + " of " + std::to_string(rank));
  return axis < 0 ? axis + rank : axis;
}

std::vector<int> resolve_axes(std::span<const int> axes, int rank) {
  std::vector<int> all;
  for (int axis : axes) all.push_back(resolve_axis(axis, rank));
  if (axes.empty())
    for (int axis = 0; axis < rank; ++axis) all.push_back(axis);
  std::ranges::sort(all);
  require(std::ranges::adjacent_find(all) == all.end(), "an axis is named twice");
  return all;
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    require(da == db || da == 1 || db == 1, "shapes do not broadcast");
    shape.push_back(da == 1 ? db : da);
  }
  return shape;
}

Value sum_to(Value x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int extra = x.shape().rank() - shape.rank();
  std::vector<int> axes;
  for (int i = 0; i < x.shape().rank(); ++i)
    if (i < extra || (shape[i - extra] == 1 && x.shape()[i] != 1)) axes.push_back(i);
  return reshape(axes.empty() ? x : reduce_sum(x, {.axes = axes}), shape);
}

void require_floating(const Spec& s) {
  require(is_floating(s.dtype), "needs float32 or float64; use cast");
}

void require_same_dtype(const Spec& a, const Spec& b) {
  require(a.dtype == b.dtype, "the dtypes differ; use cast");
}

void require_integer(const Spec& s) {
  require(!is_floating(s.dtype), "indices and labels are int32 or int64; use cast");
}

}  // namespace rein
