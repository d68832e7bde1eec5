// TensorFlow's formulas in the type of the numbers and in TensorFlow's order, so that the edge
// cases come out as they do there (python/ops/clip_ops.py of TensorFlow 2.21, clip_by_average_norm
// as in TensorFlow 1).
#pragma once

#include <cmath>
#include <limits>
#include <span>

namespace rein::tensorflow {

/// NaN if either is.
template <class T>
T minimum(T a, T b) {
  return std::isnan(a) || a < b ? a : b;
}
template <class T>
T maximum(T a, T b) {
  return std::isnan(a) || a > b ? a : b;
}

/// The sum of squares in T, added up pairwise.
template <class T>
T sum_of_squares(std::span<const T> x, T factor = 1) {
  if (x.size() > 128)
    return sum_of_squares(x.first(x.size() / 2), factor) +
           sum_of_squares(x.subspan(x.size() / 2), factor);
  T sum = 0;
  for (T v : x) sum += v * v * factor;
  return sum;
}

/// What global_norm adds up: the halves of the squares.
template <class T>
T l2_loss(std::span<const T> x) {
  return sum_of_squares(x, T{0.5});
}

template <class T>
T global_norm(T sum_of_l2_losses) {
  return std::sqrt(sum_of_l2_losses * T{2});
}

/// Of clip_by_global_norm: not a finite norm makes everything NaN.
template <class T>
T global_scale(T norm, T clip_norm) {
  return clip_norm * minimum(1 / norm, 1 / clip_norm) + (norm - norm);
}

/// clip_by_norm of numbers whose squares add up to `sum`.
template <class T>
T clipped_by_norm(T x, T sum, T clip_norm) {
  const T limit = maximum(clip_norm, T{0});
  return x * limit / maximum(std::sqrt(sum), limit);
}

/// clip_by_average_norm of `n` numbers.
template <class T>
T clipped_by_average_norm(T x, T sum, T n, T clip_norm) {
  return x * clip_norm * minimum(1 / std::sqrt(sum) * n, 1 / clip_norm);
}

}  // namespace rein::tensorflow
