// Norms of orders other than 2.
#include <algorithm>
#include <array>
#include <cmath>

#include "process/l2.h"
#include "rein/kernels/norm.h"

namespace rein {
namespace {

// (sum of |x|^p)^(1/p), in units of the largest where powers would overflow or vanish.
template <class T>
double norm_of_order(std::span<const T> x, double p) {
  const auto largest = [&] { return kernels::largest_size(x.data(), x.size()); };
  const auto sum_in = [&](double unit) {
    return kernels::sum_of_powers(x.data(), x.size(), p, unit);
  };
  if (std::isinf(p)) return largest();
  if (const double sum = sum_in(1); keeps_powers(sum)) return std::pow(sum, 1 / p);
  const double unit = largest();
  if (unit == 0 || !std::isfinite(unit)) return unit;
  return std::pow(sum_in(unit), 1 / p) * unit;
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
