// Sums of squares.
#pragma once

#include <cstddef>

namespace rein::kernels {

/// The sum of x[i]^2, added up in double: no float overflows or vanishes. Not finite exactly when
/// some float is not; of doubles also when a square overflows.
double sum_of_squares(const float* x, size_t n) noexcept;
double sum_of_squares(const double* x, size_t n) noexcept;

/// sums[i] += x[i]^2.
void add_squares(double* sums, const float* x, size_t n) noexcept;
void add_squares(double* sums, const double* x, size_t n) noexcept;

/// The same one by one, the oracle of the above.
namespace ref {
double sum_of_squares(const float* x, size_t n) noexcept;
double sum_of_squares(const double* x, size_t n) noexcept;
void add_squares(double* sums, const float* x, size_t n) noexcept;
}  // namespace ref

}  // namespace rein::kernels
