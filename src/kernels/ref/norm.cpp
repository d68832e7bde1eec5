#include "rein/kernels/norm.h"

#include <cmath>

namespace rein::kernels {
namespace {

template <class T>
double sum(const T* x, size_t n) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

template <class T>
double sum_powers(const T* x, size_t n, double p, double unit) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += std::pow(std::abs(static_cast<double>(x[i])) / unit, p);
  return total;
}

template <class T>
double largest(const T* x, size_t n) noexcept {
  double most = 0;
  for (size_t i = 0; i < n; ++i) {
    const double size = std::abs(static_cast<double>(x[i]));
    if (size > most || std::isnan(size)) most = size;  // nothing is above NaN
  }
  return most;
}

template <class T>
void add(double* sums, const T* x, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) sums[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
}

}  // namespace

double ref::sum_of_squares(const float* x, size_t n) noexcept { return sum(x, n); }
double ref::sum_of_squares(const double* x, size_t n) noexcept { return sum(x, n); }

double ref::sum_of_powers(const float* x, size_t n, double p, double unit) noexcept {
  return sum_powers(x, n, p, unit);
}
double ref::sum_of_powers(const double* x, size_t n, double p, double unit) noexcept {
  return sum_powers(x, n, p, unit);
}

double ref::largest_size(const float* x, size_t n) noexcept { return largest(x, n); }
double ref::largest_size(const double* x, size_t n) noexcept { return largest(x, n); }

void ref::add_squares(double* sums, const float* x, size_t n) noexcept { add(sums, x, n); }
void add_squares(double* sums, const double* x, size_t n) noexcept { add(sums, x, n); }

}  // namespace rein::kernels
