#include "rein/kernels/norm.h"

namespace rein::kernels {
namespace {

template <class T>
double sum(const T* x, size_t n) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

}  // namespace

double ref::sum_of_squares(const float* x, size_t n) noexcept { return sum(x, n); }
double ref::sum_of_squares(const double* x, size_t n) noexcept { return sum(x, n); }

}  // namespace rein::kernels
