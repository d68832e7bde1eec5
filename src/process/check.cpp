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

void check_gradient(std::string_view op, const Gradient& gradient, Where where) {
  if (!gradient) return;
  if (gradient.is_sparse()) validate(gradient.sparse(), where);
  if (const DType dtype = gradient.values().dtype(); !is_floating(dtype))
    throw InvalidArgument(
        op, fmt::format("a norm needs floating numbers, got a gradient of {}", to_string(dtype)),
        where);
}

}  // namespace rein
