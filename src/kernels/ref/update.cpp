#include "rein/kernels/update.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/factor.h"

namespace rein::kernels {
namespace {

template <class T>
void scale(const T* x, double factor, T* out, size_t n) noexcept {
  if (needs_double<T>(factor)) {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<T>(static_cast<double>(x[i]) * factor);
    return;
  }
  const T rounded = static_cast<T>(factor);
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * rounded;
}

template <class T>
void multiply(const double* factors, T* x, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i)
    if (factors[i] != 1) x[i] = static_cast<T>(static_cast<double>(x[i]) * factors[i]);
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
bool spikes(T* x, const T* root, T* coming, const SpikeNumbers& a, size_t n) noexcept {
  const T theta = static_cast<T>(a.root_theta);
  const T beta2 = static_cast<T>(a.beta2), fresh = static_cast<T>(1 - a.beta2);
  bool changed = false;
  for (size_t i = 0; i < n; ++i) {
    const T r = root[i], limit = theta * r;
    if (r > 0 && std::abs(x[i]) > limit) x[i] = std::copysign(limit, x[i]), changed = true;
    const T square = beta2 * r * r + fresh * x[i] * x[i];
    if (square >= kLeastSquare<T> && square <= std::numeric_limits<T>::max()) {
      coming[i] = std::sqrt(square);
      continue;
    }
    const auto was = static_cast<double>(r), g = static_cast<double>(x[i]);
    const double wide = a.beta2 * was * was + (1 - a.beta2) * g * g;
    coming[i] = wide <= std::numeric_limits<double>::max() ? static_cast<T>(std::sqrt(wide)) : r;
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

template <class T>
void amsgrad_step(T* d, T* m, T* v, T* s, const AdamNumbers& a, double square_factor,
                  size_t n) noexcept {
  const T beta1 = static_cast<T>(a.beta1), beta2 = static_cast<T>(a.beta2);
  const T new1 = static_cast<T>(a.new1), new2 = static_cast<T>(a.new2);
  const T rate = static_cast<T>(-a.rate), factor = static_cast<T>(a.root_factor);
  const T epsilon = static_cast<T>(a.epsilon), of_square = static_cast<T>(square_factor);
  for (size_t i = 0; i < n; ++i) {
    m[i] = beta1 * m[i] + new1 * d[i];
    v[i] = beta2 * v[i] + new2 * (d[i] * d[i]);
    s[i] = std::max(v[i] * of_square, s[i]);
    d[i] = rate * m[i] / (std::sqrt(s[i]) * factor + epsilon);
  }
}

template <class T>
void sum_of_two(double a, const T* x, double b, const T* y, T* out, size_t n) noexcept {
  const T of_x = static_cast<T>(a), of_y = static_cast<T>(b);
  for (size_t i = 0; i < n; ++i) out[i] = of_x * x[i] + of_y * y[i];
}

template <class T>
void lion_step(T* d, T* m, const LionNumbers& a, size_t n) noexcept {
  const T beta1 = static_cast<T>(a.beta1), beta2 = static_cast<T>(a.beta2);
  const T new1 = static_cast<T>(a.new1), new2 = static_cast<T>(a.new2);
  const T rate = static_cast<T>(a.rate);
  for (size_t i = 0; i < n; ++i) {
    const T direction = beta1 * m[i] + new1 * d[i];
    m[i] = beta2 * m[i] + new2 * d[i];
    d[i] = direction > 0 ? -rate : direction < 0 ? rate : direction;
  }
}

template <class T>
void rprop_step(T* d, T* previous, T* step, const RpropNumbers& a, size_t n) noexcept {
  const T down = static_cast<T>(a.decrease), up = static_cast<T>(a.increase);
  const T least = static_cast<T>(a.min_step), most = static_cast<T>(a.max_step);
  for (size_t i = 0; i < n; ++i) {
    const T product = d[i] * previous[i];
    const T factor = product > 0 ? up : product < 0 ? down : 1;
    step[i] = std::min(std::max(step[i] * factor, least), most);
    const T g = product < 0 ? 0 : d[i];
    previous[i] = g;
    d[i] = g > 0 ? -step[i] : g < 0 ? step[i] : g;
  }
}

template <class T>
void ftrl_step(T* d, T* n, T* z, const T* w, const FtrlNumbers& a, size_t size) noexcept {
  const T rate = static_cast<T>(a.rate), l1 = static_cast<T>(a.l1);
  const T fixed = static_cast<T>(a.fixed), shrinkage = static_cast<T>(a.shrinkage);
  for (size_t i = 0; i < size; ++i) {
    const T sum = n[i] + d[i] * d[i];
    const T root = std::sqrt(sum);
    z[i] += d[i] + shrinkage * w[i] - (root - std::sqrt(n[i])) / rate * w[i];
    n[i] = sum;
    const T outside = (std::copysign(l1, z[i]) - z[i]) / (root / rate + fixed);
    d[i] = (std::abs(z[i]) > l1 ? outside : z[i] * 0) - w[i];  // inside 0, but NaN of NaN
  }
}

}  // namespace

void ref::scale_into(const float* x, double factor, float* out, size_t n) noexcept {
  scale(x, factor, out, n);
}
void scale_into(const double* x, double factor, double* out, size_t n) noexcept {
  scale(x, factor, out, n);
}

void ref::scale_each(const double* factors, float* x, size_t n) noexcept {
  multiply(factors, x, n);
}
void scale_each(const double* factors, double* x, size_t n) noexcept { multiply(factors, x, n); }

bool ref::clip_in_place(float* x, float lo, float hi, size_t n) noexcept {
  return clip(x, lo, hi, n);
}
bool clip_in_place(double* x, double lo, double hi, size_t n) noexcept {
  return clip(x, lo, hi, n);
}

bool ref::clip_spikes(float* x, const float* root, float* coming, const SpikeNumbers& a,
                      size_t n) noexcept {
  return spikes(x, root, coming, a, n);
}
bool clip_spikes(double* x, const double* root, double* coming, const SpikeNumbers& a,
                 size_t n) noexcept {
  return spikes(x, root, coming, a, n);
}

void ref::add_into(float* w, const float* d, size_t n) noexcept { add(w, d, n); }
void add_into(double* w, const double* d, size_t n) noexcept { add(w, d, n); }

void ref::adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept {
  adam_step(d, m, v, a, n);
}
void adam(double* d, double* m, double* v, const AdamNumbers& a, size_t n) noexcept {
  adam_step(d, m, v, a, n);
}

void ref::amsgrad(float* d, float* m, float* v, float* s, const AdamNumbers& a,
                  double square_factor, size_t n) noexcept {
  amsgrad_step(d, m, v, s, a, square_factor, n);
}
void amsgrad(double* d, double* m, double* v, double* s, const AdamNumbers& a, double square_factor,
             size_t n) noexcept {
  amsgrad_step(d, m, v, s, a, square_factor, n);
}

void ref::combine(double a, const float* x, double b, const float* y, float* out,
                  size_t n) noexcept {
  sum_of_two(a, x, b, y, out, n);
}
void combine(double a, const double* x, double b, const double* y, double* out, size_t n) noexcept {
  sum_of_two(a, x, b, y, out, n);
}

void ref::lion(float* d, float* m, const LionNumbers& a, size_t n) noexcept {
  lion_step(d, m, a, n);
}
void lion(double* d, double* m, const LionNumbers& a, size_t n) noexcept { lion_step(d, m, a, n); }

void ref::rprop(float* d, float* previous, float* step, const RpropNumbers& a, size_t n) noexcept {
  rprop_step(d, previous, step, a, n);
}
void rprop(double* d, double* previous, double* step, const RpropNumbers& a, size_t n) noexcept {
  rprop_step(d, previous, step, a, n);
}

void ref::ftrl(float* d, float* n, float* z, const float* w, const FtrlNumbers& a,
               size_t size) noexcept {
  ftrl_step(d, n, z, w, a, size);
}
void ftrl(double* d, double* n, double* z, const double* w, const FtrlNumbers& a,
          size_t size) noexcept {
  ftrl_step(d, n, z, w, a, size);
}

void adam_update(const double* gradient, double factor, double* w, double* m, double* v,
                 const AdamNumbers& a, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) {
    double d;
    scale(gradient + i, factor, &d, 1);
    adam_step(&d, m + i, v + i, a, 1);
    add(w + i, &d, 1);
  }
}

}  // namespace rein::kernels
