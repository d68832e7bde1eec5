// Adafactor's three passes over a row of gradients.
#pragma once

#include <cstddef>

namespace rein::kernels {

/// x[i] *= scale, as `scale_into` does; sums[i] += x[i]^2, in double. Returns the sum of x[i]^2.
double row_squares(float* x, double scale, double* sums, size_t n) noexcept;
double row_squares(double* x, double scale, double* sums, size_t n) noexcept;

/// What divides a row: u[i] = x[i] row columns[i], and |u[i]| <= most |x[i]| if `bounded`.
template <class T>
struct RowFactors {
  T row;
  const T* columns;
  bool bounded;
  T most;
};
/// The sum of u[i]^2.
double factored_squares(const float* x, const RowFactors<float>& f, size_t n) noexcept;
double factored_squares(const double* x, const RowFactors<double>& f, size_t n) noexcept;
/// out[i] = a u[i] + b w[i]; `out` may be `x`.
void factored_delta(const float* x, const RowFactors<float>& f, double a, double b, const float* w,
                    float* out, size_t n) noexcept;
void factored_delta(const double* x, const RowFactors<double>& f, double a, double b,
                    const double* w, double* out, size_t n) noexcept;
/// w[i] += a u[i] + b w[i], to the bits of `factored_delta` and an addition.
void factored_update(const float* x, const RowFactors<float>& f, double a, double b, float* w,
                     size_t n) noexcept;
void factored_update(const double* x, const RowFactors<double>& f, double a, double b, double* w,
                     size_t n) noexcept;

/// The same one by one, the oracles of the above.
namespace ref {
double row_squares(float* x, double scale, double* sums, size_t n) noexcept;
double factored_squares(const float* x, const RowFactors<float>& f, size_t n) noexcept;
void factored_delta(const float* x, const RowFactors<float>& f, double a, double b, const float* w,
                    float* out, size_t n) noexcept;
void factored_update(const float* x, const RowFactors<float>& f, double a, double b, float* w,
                     size_t n) noexcept;
}  // namespace ref

}  // namespace rein::kernels
