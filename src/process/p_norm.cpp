// Norms of orders other than 2.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "process/l2.h"

namespace rein {
namespace {

// Several sums side by side, so that additions need not wait for each other.
constexpr size_t kLanes = 8;

template <class T, class F>
double sum_of(std::span<const T> x, F f) {
  std::array<double, kLanes> sums{};
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) sums[j] += f(x[i + j]);
  double sum = 0;
  for (double s : sums) sum += s;
  for (; i < x.size(); ++i) sum += f(x[i]);
  return sum;
}

// NaN if there is one.
template <class T>
double largest_of(std::span<const T> x) {
  std::array<T, kLanes> most{}, nan{};
  size_t i = 0;
  const auto see = [&](size_t j, T v) {
    const T size = std::abs(v);
    most[j] = size > most[j] ? size : most[j];
    nan[j] = v == v ? nan[j] : v;
  };
  for (; i + kLanes <= x.size(); i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) see(j, x[i + j]);
  for (; i < x.size(); ++i) see(0, x[i]);
  T largest = 0;
  for (size_t j = 0; j < kLanes; ++j) {
    if (nan[j] != nan[j]) return std::numeric_limits<double>::quiet_NaN();
    largest = std::max(largest, most[j]);
  }
  return static_cast<double>(largest);
}

// (sum of |x|^p)^(1/p), scaled by the largest so that nothing overflows.
template <class T>
double scaled_norm(std::span<const T> x, double p) {
  const double largest = largest_of(x);
  if (largest == 0 || !std::isfinite(largest)) return largest;
  const double factor = unit_factor(largest);
  const auto size = [&](T v) { return std::abs(static_cast<double>(v)) * factor; };
  const double sum = p == 1     ? sum_of(x, size)
                     : p == 1.5 ? sum_of(x, [&](T v) { return size(v) * std::sqrt(size(v)); })
                     : p == 3   ? sum_of(x, [&](T v) { return size(v) * size(v) * size(v); })
                                : sum_of(x, [&](T v) { return std::pow(size(v), p); });
  return std::pow(sum, 1 / p) / factor;
}

template <class T>
double norm_of_order(std::span<const T> x, double p) {
  if (std::isinf(p)) return largest_of(x);
  if (p == 1 && sizeof(T) == 4)  // floats do not overflow in double
    return sum_of(x, [](T v) { return std::abs(static_cast<double>(v)); });
  return scaled_norm(x, p);
}

template <class T>
double norm_by_blocks(std::span<const T> x, double order) {
  std::array<double, 64> few;  // norms of blocks are joined 64 at a time
  size_t n = 0;
  for (size_t at = 0; at < x.size(); at += kNormBlock) {
    if (n == few.size()) {
      few[0] = joint_norm(few, order);
      n = 1;
    }
    few[n++] = block_norm(x.subspan(at, std::min(kNormBlock, x.size() - at)), order);
  }
  return joint_norm(std::span(few).first(n), order);
}

}  // namespace

double block_norm(std::span<const float> x, double order) {
  return order == 2 ? block_norm(x) : norm_of_order(x, order);
}
double block_norm(std::span<const double> x, double order) {
  return order == 2 ? block_norm(x) : norm_of_order(x, order);
}

double joint_norm(std::span<const double> norms, double order) {
  if (norms.size() == 1) return std::abs(norms[0]);
  return order == 2 ? joint_norm(norms) : norm_of_order(norms, order);
}

double p_norm(std::span<const float> x, double order) {
  return order == 2 ? l2_norm(x) : norm_by_blocks(x, order);
}
double p_norm(std::span<const double> x, double order) {
  return order == 2 ? l2_norm(x) : norm_by_blocks(x, order);
}

}  // namespace rein
