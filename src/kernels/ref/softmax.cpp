#include <cmath>

#include "kernels/softmax_rows.h"

namespace rein::kernels::ref {

template <class T>
RowSum<T> exp_row(const T* x, T* y, int64_t n) noexcept {
  T max = x[0];
  for (int64_t k = 1; k < n; ++k)
    if (x[k] > max || x[k] != x[k]) max = x[k];
  T sum = 0;
  for (int64_t k = 0; k < n; ++k) {
    const T e = std::exp(x[k] - max);
    sum += e;
    if (y) y[k] = e;
  }
  return {max, sum};
}

template <class T>
T cross_entropy_row(const T* labels, const T* x, T max, T log_sum, int64_t n) noexcept {
  T loss = 0;
  for (int64_t k = 0; k < n; ++k) loss += labels[k] * (log_sum - (x[k] - max));
  return loss;
}

template <class T>
void sigmoid_cross_entropy_row(const T* labels, const T* logits, T* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    const T x = logits[i];
    y[i] = (x < 0 ? T{0} : x) - x * labels[i] + std::log1p(std::exp(-std::abs(x)));
  }
}

template RowSum<float> exp_row(const float*, float*, int64_t) noexcept;
template RowSum<double> exp_row(const double*, double*, int64_t) noexcept;
template float cross_entropy_row(const float*, const float*, float, float, int64_t) noexcept;
template double cross_entropy_row(const double*, const double*, double, double, int64_t) noexcept;
template void sigmoid_cross_entropy_row(const float*, const float*, float*, int64_t) noexcept;
template void sigmoid_cross_entropy_row(const double*, const double*, double*, int64_t) noexcept;

}  // namespace rein::kernels::ref
