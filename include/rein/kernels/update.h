// What happens to a block of gradients on its way into the parameters.
#pragma once

#include <cstddef>

namespace rein::kernels {

/// out[i] = x[i] * factor, the factor rounded to the type of x, unless it would vanish there. With
/// factor 1 the bits stay. `out` may be `x`.
void scale_into(const float* x, double factor, float* out, size_t n) noexcept;
void scale_into(const double* x, double factor, double* out, size_t n) noexcept;

/// x[i] = max(min(x[i], hi), lo); NaN stays NaN. Whether anything changed.
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept;
bool clip_in_place(double* x, double lo, double hi, size_t n) noexcept;

/// w[i] += d[i]
void add_into(float* w, const float* d, size_t n) noexcept;
void add_into(double* w, const double* d, size_t n) noexcept;

/// One step of Adam, its numbers ready for use.
struct AdamNumbers {
  double beta1, beta2;              // decay of m and v
  double new1, new2;                // weight of what is new: 1 - beta1, 1 - beta2
  double rate;                      // learning rate with its bias correction
  double root_factor, epsilon = 0;  // the denominator is sqrt(v) * root_factor + epsilon
};
/// m = beta1 m + new1 d, v = beta2 v + new2 d^2, d = -rate m / (sqrt(v) root_factor + epsilon).
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept;
void adam(double* d, double* m, double* v, const AdamNumbers& a, size_t n) noexcept;

/// The same in plain loops, the oracles of the above.
namespace ref {
void scale_into(const float* x, double factor, float* out, size_t n) noexcept;
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept;
void add_into(float* w, const float* d, size_t n) noexcept;
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept;
}  // namespace ref

}  // namespace rein::kernels
