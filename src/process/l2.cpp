#include "process/l2.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rein/kernels/norm.h"

namespace rein {
namespace {

template <class T>
double norm_by_blocks(std::span<const T> x) {
  JointNorm joint;
  for (size_t at = 0; at < x.size(); at += kNormBlock)
    joint.add(block_norm(x.subspan(at, std::min(kNormBlock, x.size() - at))));
  return joint.value();
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
  return keeps_powers(sum) ? std::sqrt(sum) : joint_norm(x);
}

void JointNorm::add(double norm) {
  norm = std::abs(norm);
  if (std::isnan(norm) || std::isnan(largest_)) {
    largest_ = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  if (norm > largest_) {
    largest_ = norm;
    if (std::isinf(norm)) return;
    const double factor = unit_factor(norm), change = factor / factor_;
    if (sum_ > 0) sum_ *= change * change;  // a power of two below 1
    factor_ = factor;
  }
  if (!std::isinf(largest_)) sum_ += (norm * factor_) * (norm * factor_);
}

double JointNorm::value() const {
  if (largest_ == 0 || !std::isfinite(largest_)) return largest_;
  return std::sqrt(sum_) / factor_;
}

double joint_norm(std::span<const double> norms) {
  JointNorm joint;
  for (double norm : norms) joint.add(norm);
  return joint.value();
}

double l2_norm(std::span<const float> x) { return norm_by_blocks(x); }
double l2_norm(std::span<const double> x) { return norm_by_blocks(x); }

double scale_to(double norm, double clip_norm) {
  return norm > clip_norm && std::isfinite(norm) ? clip_norm / norm : 1;
}

}  // namespace rein
