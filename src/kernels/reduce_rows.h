// What reductions are made of: rows of one stride put together, column by column.
#pragma once

#include <cstdint>

namespace rein::kernels {

/// y[j] = sum over r < rows of x[r * stride + j], for j < n; rows > 0. Eight rows at a time, so
/// that few roundings meet in one number.
void sum_rows(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept;
void sum_rows(const double* x, int64_t rows, int64_t stride, int64_t n, double* y) noexcept;

/// The same with the larger one in place of the sum; NaN if any is.
void max_rows(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept;
void max_rows(const double* x, int64_t rows, int64_t stride, int64_t n, double* y) noexcept;

}  // namespace rein::kernels
