// Factors in double, of numbers that may be float.
#pragma once

#include <cmath>
#include <limits>

namespace rein {

/// Whether `factor` would vanish or be infinite as a T: products with it are to be taken in double.
template <class T>
bool needs_double(double factor) {
  using Limits = std::numeric_limits<T>;
  const double size = std::abs(factor);
  return size != 0 && !(size >= double{Limits::min()} && size <= double{Limits::max()});
}

}  // namespace rein
