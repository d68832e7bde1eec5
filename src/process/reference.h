// What other libraries compute, in the type of the numbers and in their order, so that the edge
// cases come out as they do there: TensorFlow 2.21 (python/ops/clip_ops.py; clip_by_average_norm as
// in TensorFlow 1), Keras 3.15, PyTorch 2.6 (nn/utils/clip_grad.py), Optax 0.2.8 (clipping).
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "rein/process/semantics.h"

namespace rein::reference {

/// What PyTorch adds to a norm before it divides by it.
inline constexpr double kTorchEpsilon = 1e-6;

/// NaN if either is.
template <class T>
T minimum(T a, T b) {
  return std::isnan(a) || a < b ? a : b;
}
template <class T>
T maximum(T a, T b) {
  return std::isnan(a) || a > b ? a : b;
}

/// The sum of f(x) in T, added up pairwise; in blocks of 128 eight sums side by side, so that
/// additions need not wait for each other.
template <class T, class F>
T sum_of(std::span<const T> x, F f) {
  constexpr size_t kBlock = 128, kLanes = 8;
  if (x.size() > kBlock) {
    const size_t half = (x.size() / 2 + kBlock - 1) / kBlock * kBlock;
    return sum_of(x.first(half), f) + sum_of(x.subspan(half), f);
  }
  T sum = 0;
  if (x.size() < kBlock) {
    for (T v : x) sum += f(v);
    return sum;
  }
  std::array<T, kLanes> sums{};
  for (size_t i = 0; i < kBlock; i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) sums[j] += f(x[i + j]);
  for (T s : sums) sum += s;
  return sum;
}
template <class T>
T sum_of_squares(std::span<const T> x) {
  return sum_of(x, [](T v) { return v * v; });
}

/// (sum of |x|^p)^(1/p) in T.
template <class T>
T p_norm(std::span<const T> x, double order) {
  const T p = static_cast<T>(order);
  if (order == 2) return std::sqrt(sum_of_squares(x));
  if (order == 1) return sum_of(x, [](T v) { return std::abs(v); });
  if (std::isinf(order)) {
    T largest = 0;
    for (T v : x) largest = maximum(std::abs(v), largest);
    return largest;
  }
  return std::pow(sum_of(x, [&](T v) { return std::pow(std::abs(v), p); }), 1 / p);
}

/// The norm of several tensors, which come one by one.
template <class T>
class GlobalNorm {
 public:
  GlobalNorm(Semantics semantics, double order) : semantics_(semantics), order_(order) {}

  void add(std::span<const T> x) {
    if (semantics_ == Semantics::optax)
      sum_ += sum_of_squares(x);
    else if (semantics_ != Semantics::pytorch)
      sum_ += sum_of(x, [](T v) { return v * v * T{0.5}; });  // l2_loss
    else
      add_norm(p_norm(x, order_));
  }
  T value() const {
    if (semantics_ == Semantics::optax) return std::sqrt(sum_);
    if (semantics_ != Semantics::pytorch) return std::sqrt(sum_ * T{2});
    if (order_ == 1 || std::isinf(order_)) return sum_;
    return order_ == 2 ? std::sqrt(sum_) : std::pow(sum_, static_cast<T>(1 / order_));
  }

 private:
  void add_norm(T norm) {
    if (std::isinf(order_))
      sum_ = maximum(norm, sum_);
    else
      sum_ += order_ == 1   ? norm
              : order_ == 2 ? norm * norm
                            : std::pow(norm, static_cast<T>(order_));
  }

  Semantics semantics_;
  double order_;
  T sum_ = 0;
};

/// Whether a threshold switches the clip off.
inline bool is_off(Semantics semantics, double threshold) {
  return semantics == Semantics::keras && !(threshold > 0);
}

/// Whether a factor, what a formula makes of 1, is more than roundings away from 1.
template <class T>
bool clips(T factor) {
  return !(std::abs(factor - 1) <= std::numeric_limits<T>::epsilon());
}

/// x = f(x), which is a factor for all of them; whether that clips them, and so changes one by more
/// than roundings. No branch on a number.
template <class T, class F>
bool clip_in_place(std::span<T> x, F f) {
  unsigned changed = 0;
  for (T& v : x) {
    const T old = std::exchange(v, f(v));
    changed |= static_cast<unsigned>(v != old) & static_cast<unsigned>(old == old);
  }
  return changed != 0 && clips(f(T{1}));
}

/// What a clip by the global norm makes of x.
template <class T>
T globally_clipped(Semantics semantics, T x, T norm, T limit) {
  if (is_off(semantics, static_cast<double>(limit))) return x;
  switch (semantics) {
    case Semantics::pytorch:
      return x * minimum(limit / (norm + static_cast<T>(kTorchEpsilon)), T{1});
    case Semantics::optax:
      return norm < limit ? x : x / norm * limit;
    default:  // a norm that is not finite makes everything NaN
      return x * (limit * minimum(1 / norm, 1 / limit) + (norm - norm));
  }
}

/// What a clip by the norm of this tensor alone makes of x.
template <class T>
T clipped_by_norm(Semantics semantics, T x, T norm, T limit) {
  if (semantics == Semantics::pytorch || semantics == Semantics::optax ||
      is_off(semantics, static_cast<double>(limit)))
    return globally_clipped(semantics, x, norm, limit);
  const T least = maximum(limit, T{0});
  return x * least / maximum(norm, least);
}

/// clip_by_average_norm of `n` numbers.
template <class T>
T clipped_by_average_norm(T x, T norm, T n, T limit) {
  return x * limit * minimum(1 / norm * n, 1 / limit);
}

/// clip_by_block_rms of `n` numbers.
template <class T>
T clipped_by_block_rms(T x, T sum_of_squares, T n, T threshold) {
  return x / maximum(std::sqrt(sum_of_squares / n) / threshold, T{1});
}

}  // namespace rein::reference
