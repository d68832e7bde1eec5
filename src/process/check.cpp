#include "process/check.h"

#include <fmt/format.h>

#include <cmath>

namespace rein {

void check_threshold(std::string_view op, double clip_norm, Semantics semantics, Where where) {
  if (semantics == Semantics::safe && !(clip_norm >= 0))
    throw InvalidArgument(op,
                          fmt::format("clip_norm is {}; give a number from 0 on, or infinity to "
                                      "measure without clipping",
                                      clip_norm),
                          where);
}

void check_bounds(std::string_view op, double lo, double hi, Semantics semantics, Where where) {
  if (semantics == Semantics::safe && !(lo <= hi))
    throw InvalidArgument(
        op, fmt::format("the bounds must be numbers, the lower first, got {} and {}", lo, hi),
        where);
}

void check_slices(std::string_view op, const IndexedSlices& s, Where where) {
  Shape rows = s.dense_shape;
  if (rows.rank() > 0 && s.indices.shape().rank() == 1) rows[0] = s.indices.shape()[0];
  if (s.indices.dtype() != DType::int64 || rows.rank() == 0 || s.values.shape() != rows ||
      s.indices.shape() != Shape{rows[0]})
    throw InvalidArgument(op,
                          fmt::format("a sparse gradient of {} has values {} and indices {}",
                                      to_string(s.dense_shape), to_string(s.values.spec()),
                                      to_string(s.indices.spec())),
                          where);
  for (int64_t row : s.indices.flat<int64_t>())
    if (row < 0 || row >= s.dense_shape[0])
      throw InvalidArgument(
          op, fmt::format("row {} of a sparse gradient of {}", row, to_string(s.dense_shape)),
          where);
}

void check_gradient(std::string_view op, const Gradient& gradient, Where where) {
  if (!gradient) return;
  if (gradient.is_sparse()) check_slices(op, gradient.sparse(), where);
  if (const DType dtype = gradient.values().dtype(); !is_floating(dtype))
    throw InvalidArgument(
        op, fmt::format("a norm needs floating numbers, got a gradient of {}", to_string(dtype)),
        where);
}

}  // namespace rein
