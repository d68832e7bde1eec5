// Sums of squares and of other powers, and the largest size: what norms are made of.
#pragma once

#include <cstddef>

namespace rein::kernels {

/// The sum of x[i]^2, added up in double: no float overflows or vanishes. Not finite exactly when
/// some float is not; of doubles also when a square overflows.
double sum_of_squares(const float* x, size_t n) noexcept;
double sum_of_squares(const double* x, size_t n) noexcept;

/// The sum of (|x[i]| / unit)^p for p >= 1 and unit > 0, added up in double. Sizes and powers below
/// 2^-1022 may count as 0, what overflows is infinite; otherwise the relative error of sum^(1/p) is
/// below 1e-13. NaN if some number is, else infinite if one is. The same bits wherever x begins.
double sum_of_powers(const float* x, size_t n, double p, double unit) noexcept;
double sum_of_powers(const double* x, size_t n, double p, double unit) noexcept;

/// The largest |x[i]|, exactly; 0 of none, and of denormals where they are zero. NaN if some number
/// is, else infinite if one is.
double largest_size(const float* x, size_t n) noexcept;
double largest_size(const double* x, size_t n) noexcept;

/// sums[i] += x[i]^2.
void add_squares(double* sums, const float* x, size_t n) noexcept;
void add_squares(double* sums, const double* x, size_t n) noexcept;

/// The same one by one, the oracle of the above.
namespace ref {
double sum_of_squares(const float* x, size_t n) noexcept;
double sum_of_squares(const double* x, size_t n) noexcept;
double sum_of_powers(const float* x, size_t n, double p, double unit) noexcept;
double sum_of_powers(const double* x, size_t n, double p, double unit) noexcept;
double largest_size(const float* x, size_t n) noexcept;
double largest_size(const double* x, size_t n) noexcept;
void add_squares(double* sums, const float* x, size_t n) noexcept;
}  // namespace ref

}  // namespace rein::kernels
