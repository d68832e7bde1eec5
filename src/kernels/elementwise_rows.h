// What the tiling in elementwise.cpp hands to the plain and to the vector code.
#pragma once

#include "rein/kernels/elementwise.h"

namespace rein::kernels {

/// Rows of `n` elements: those of the result lie one behind the other, those of operand k are
/// `row[k]` apart, and within a row it moves by `step[k]`, 1 or 0.
template <class T>
struct Rows {
  std::array<const T*, Broadcast::kMaxOperands> x;
  Broadcast::Strides row, step;
  T* y;
  int64_t rows, n;
};

namespace ref {
template <class T>
void unary(Unary f, const T* x, T* y, int64_t n) noexcept;
template <class T>
void binary(Binary f, const Rows<T>& rows) noexcept;
template <class T>
void ternary(Ternary f, const Rows<T>& rows) noexcept;
}  // namespace ref

namespace simd {
void unary(Unary f, const float* x, float* y, int64_t n) noexcept;
void binary(Binary f, const Rows<float>& rows) noexcept;
void ternary(Ternary f, const Rows<float>& rows) noexcept;
/// flags[i]: 1 where `random.uniform(first + i)` >= bound, else 0; bound in [0, 1).
void uniform_at_least(const RandomStream& random, double bound, int64_t first, uint32_t* flags,
                      int64_t n) noexcept;
}  // namespace simd

}  // namespace rein::kernels
