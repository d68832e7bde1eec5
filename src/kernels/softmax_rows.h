// What softmax and the losses are made of: passes over one row. `ref` has them as plain loops,
// `simd` in vector code for floats.
#pragma once

#include <cstdint>

namespace rein::kernels {

/// The largest number of a row, and the sum of exp(x - max), which is NaN if any number is.
template <class T>
struct RowSum {
  T max, sum;
};

namespace ref {
/// Also writes exp(x - max) to `y`, unless it is null. n > 0.
template <class T>
RowSum<T> exp_row(const T* x, T* y, int64_t n) noexcept;
/// sum over k of labels[k] (log_sum - (x[k] - max))
template <class T>
T cross_entropy_row(const T* labels, const T* x, T max, T log_sum, int64_t n) noexcept;
/// y[i] = max(x, 0) - x z + log(1 + exp(-|x|)) for logits x and labels z.
template <class T>
void sigmoid_cross_entropy_row(const T* labels, const T* logits, T* y, int64_t n) noexcept;
}  // namespace ref

namespace simd {
RowSum<float> exp_row(const float* x, float* y, int64_t n) noexcept;
float cross_entropy_row(const float* labels, const float* x, float max, float log_sum,
                        int64_t n) noexcept;
void sigmoid_cross_entropy_row(const float* labels, const float* logits, float* y,
                               int64_t n) noexcept;
}  // namespace simd

}  // namespace rein::kernels
