#include "process/l2.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "rein/kernels/norm.h"

namespace rein {
namespace {

template <class T>
double norm_by_blocks(std::span<const T> x) {
  std::vector<double> norms;
  for (size_t at = 0; at < x.size(); at += kNormBlock)
    norms.push_back(block_norm(x.subspan(at, std::min(kNormBlock, x.size() - at))));
  return joint_norm(norms);
}

}  // namespace

double unit_factor(double largest) {
  return std::ldexp(1.0, -std::clamp(std::ilogb(largest), -1000, 1000));
}

double block_norm(std::span<const float> x) {
  return std::sqrt(kernels::sum_of_squares(x.data(), x.size()));
}

double block_norm(std::span<const double> x) {
  const double sum = kernels::sum_of_squares(x.data(), x.size());
  // Between these, no square overflowed, and those that vanished or lost bits do not count.
  return sum > 1e-280 && sum < 1e300 ? std::sqrt(sum) : joint_norm(x);
}

double joint_norm(std::span<const double> norms) {
  double largest = 0;
  for (double v : norms) {
    if (std::isnan(v)) return v;
    largest = std::max(largest, std::abs(v));
  }
  if (largest == 0 || std::isinf(largest)) return largest;
  const double factor = unit_factor(largest);
  double sum = 0;
  for (double v : norms) sum += (v * factor) * (v * factor);
  return std::sqrt(sum) / factor;
}

double l2_norm(std::span<const float> x) { return norm_by_blocks(x); }
double l2_norm(std::span<const double> x) { return norm_by_blocks(x); }

double scale_to(double norm, double clip_norm) {
  return norm > clip_norm && std::isfinite(norm) ? clip_norm / norm : 1;
}

}  // namespace rein
