#include "rein/kernels/update.h"

#include <cmath>
#include <limits>

namespace rein::kernels {
namespace {

template <class T>
void scale(const T* x, double factor, T* out, size_t n) noexcept {
  const T rounded = static_cast<T>(factor);
  if (factor != 0 && std::abs(rounded) < std::numeric_limits<T>::min()) {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<T>(static_cast<double>(x[i]) * factor);
    return;
  }
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * rounded;
}

// A comparison with NaN is false, so NaN comes through both.
template <class T>
bool clip(T* x, T lo, T hi, size_t n) noexcept {
  bool changed = false;
  for (size_t i = 0; i < n; ++i) {
    const T low = hi < x[i] ? hi : x[i];
    const T clipped = low < lo ? lo : low;
    changed |= clipped < x[i] || clipped > x[i];
    x[i] = clipped;
  }
  return changed;
}

template <class T>
void add(T* w, const T* d, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) w[i] += d[i];
}

template <class T>
void adam_step(T* d, T* m, T* v, const AdamNumbers& a, size_t n) noexcept {
  const T beta1 = static_cast<T>(a.beta1), beta2 = static_cast<T>(a.beta2);
  const T new1 = static_cast<T>(a.new1), new2 = static_cast<T>(a.new2);
  const T rate = static_cast<T>(-a.rate), factor = static_cast<T>(a.root_factor);
  const T epsilon = static_cast<T>(a.epsilon);
  for (size_t i = 0; i < n; ++i) {
    m[i] = beta1 * m[i] + new1 * d[i];
    v[i] = beta2 * v[i] + new2 * (d[i] * d[i]);
    d[i] = rate * m[i] / (std::sqrt(v[i]) * factor + epsilon);
  }
}

}  // namespace

void ref::scale_into(const float* x, double factor, float* out, size_t n) noexcept {
  scale(x, factor, out, n);
}
void scale_into(const double* x, double factor, double* out, size_t n) noexcept {
  scale(x, factor, out, n);
}

bool ref::clip_in_place(float* x, float lo, float hi, size_t n) noexcept {
  return clip(x, lo, hi, n);
}
bool clip_in_place(double* x, double lo, double hi, size_t n) noexcept {
  return clip(x, lo, hi, n);
}

void ref::add_into(float* w, const float* d, size_t n) noexcept { add(w, d, n); }
void add_into(double* w, const double* d, size_t n) noexcept { add(w, d, n); }

void ref::adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept {
  adam_step(d, m, v, a, n);
}
void adam(double* d, double* m, double* v, const AdamNumbers& a, size_t n) noexcept {
  adam_step(d, m, v, a, n);
}

}  // namespace rein::kernels
