#include "process/l2.h"

#include <cmath>
#include <limits>

#include "rein/kernels/norm.h"

namespace rein {
namespace {

// Squares of doubles between these limits neither overflow nor lose bits.
constexpr double kSmall = 1e-280, kLarge = 1e280;

// The power of two that brings `largest` near 1.
double unit_factor(double largest) {
  return std::ldexp(1.0, -std::clamp(std::ilogb(largest), -1000, 1000));
}

double scaled_norm(std::span<const double> x) {
  double largest = 0;
  for (double v : x) {
    if (std::isnan(v)) return v;
    largest = std::max(largest, std::abs(v));
  }
  if (largest == 0 || std::isinf(largest)) return largest;
  const double factor = unit_factor(largest);
  double sum = 0;
  for (double v : x) sum += (v * factor) * (v * factor);
  return std::sqrt(sum) / factor;
}

template <class T>
double norm(std::span<const T> x) {
  double sum = 0;
  for (size_t at = 0; at < x.size(); at += kNormBlock)
    sum += kernels::sum_of_squares(x.data() + at, std::min(kNormBlock, x.size() - at));
  return root(sum, x);
}

}  // namespace

double root(double sum, std::span<const float>) { return std::sqrt(sum); }

double root(double sum, std::span<const double> x) {
  return sum > kSmall && sum < kLarge ? std::sqrt(sum) : scaled_norm(x);
}

double l2_norm(std::span<const float> x) { return norm(x); }
double l2_norm(std::span<const double> x) { return norm(x); }

double joint_norm(std::span<const double> norms) { return scaled_norm(norms); }

double scale_to(double norm, double clip_norm) {
  return norm > clip_norm && std::isfinite(norm) ? clip_norm / norm : 1;
}

}  // namespace rein
