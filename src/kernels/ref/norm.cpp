#include "rein/kernels/norm.h"

namespace rein::kernels {
namespace {

template <class T>
double sum(const T* x, size_t n) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

template <class T>
void add(double* sums, const T* x, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) sums[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
}

}  // namespace

double ref::sum_of_squares(const float* x, size_t n) noexcept { return sum(x, n); }
double ref::sum_of_squares(const double* x, size_t n) noexcept { return sum(x, n); }

void ref::add_squares(double* sums, const float* x, size_t n) noexcept { add(sums, x, n); }
void add_squares(double* sums, const double* x, size_t n) noexcept { add(sums, x, n); }

}  // namespace rein::kernels
