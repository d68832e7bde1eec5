// Steps of rules whose loops a compiler turns into vectors by itself: one text for all instruction
// sets and both types. Nothing is fused (-ffp-contract=off), so that all give the same bits.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/rule_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "rein/kernels/update.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void adamax_step(T* d, T* m, T* u, const AdamaxNumbers& a, size_t n) {
  const T beta1 = static_cast<T>(a.beta1), beta2 = static_cast<T>(a.beta2);
  const T new1 = static_cast<T>(a.new1), rate = static_cast<T>(-a.rate);
  const T added = static_cast<T>(a.added), epsilon = static_cast<T>(a.epsilon);
  for (size_t i = 0; i < n; ++i) {
    m[i] = beta1 * m[i] + new1 * d[i];
    u[i] = std::max(beta2 * u[i], std::abs(d[i]) + added);
    d[i] = rate * m[i] / (u[i] + epsilon);
  }
}

template <class T>
void nadam_step(T* d, T* m, T* v, const NadamNumbers& a, size_t n) {
  const T beta1 = static_cast<T>(a.beta1), beta2 = static_cast<T>(a.beta2);
  const T new1 = static_cast<T>(a.new1), new2 = static_cast<T>(a.new2);
  const T of_m = static_cast<T>(-a.of_m), of_d = static_cast<T>(-a.of_d);
  const T factor = static_cast<T>(a.root_factor), epsilon = static_cast<T>(a.epsilon);
  for (size_t i = 0; i < n; ++i) {
    m[i] = beta1 * m[i] + new1 * d[i];
    v[i] = beta2 * v[i] + new2 * (d[i] * d[i]);
    d[i] = (of_m * m[i] + of_d * d[i]) / (std::sqrt(v[i]) * factor + epsilon);
  }
}

template <class T>
void rmsprop_step(T* d, T* s, const RmsNumbers& a, size_t n) {
  const T rho = static_cast<T>(a.rho), fresh = static_cast<T>(1 - a.rho);
  const T rate = static_cast<T>(-a.rate);
  const T in_root = static_cast<T>(a.in_root), epsilon = static_cast<T>(a.epsilon);
  for (size_t i = 0; i < n; ++i) {
    s[i] = rho * s[i] + fresh * (d[i] * d[i]);
    d[i] = d[i] / (std::sqrt(s[i] + in_root) + epsilon) * rate;
  }
}

template <class T>
void centered_rmsprop_step(T* d, T* s, T* mean, const RmsNumbers& a, size_t n) {
  const T rho = static_cast<T>(a.rho), fresh = static_cast<T>(1 - a.rho);
  const T rate = static_cast<T>(-a.rate);
  const T in_root = static_cast<T>(a.in_root), epsilon = static_cast<T>(a.epsilon);
  for (size_t i = 0; i < n; ++i) {
    s[i] = rho * s[i] + fresh * (d[i] * d[i]);
    mean[i] = rho * mean[i] + fresh * d[i];
    d[i] = d[i] / (std::sqrt(s[i] - mean[i] * mean[i] + in_root) + epsilon) * rate;
  }
}

template <class T>
void adagrad_step(T* d, T* s, const AdagradNumbers& a, size_t n) {
  const T rate = static_cast<T>(-a.rate);
  const T in_root = static_cast<T>(a.in_root), epsilon = static_cast<T>(a.epsilon);
  const bool rests_at_0 = a.rests_at_0;
  for (size_t i = 0; i < n; ++i) {
    s[i] += d[i] * d[i];
    const T step = rate * d[i] / (std::sqrt(s[i] + in_root) + epsilon);
    d[i] = rests_at_0 && s[i] == 0 ? 0 : step;
  }
}

template <class T>
void adadelta_step(T* d, T* s, T* step, const AdadeltaNumbers& a, size_t n) {
  const T rho = static_cast<T>(a.rho), fresh = static_cast<T>(1 - a.rho);
  const T epsilon = static_cast<T>(a.epsilon), rate = static_cast<T>(-a.rate);
  for (size_t i = 0; i < n; ++i) {
    s[i] = rho * s[i] + fresh * (d[i] * d[i]);
    const T u = std::sqrt(step[i] + epsilon) / std::sqrt(s[i] + epsilon) * d[i];
    step[i] = rho * step[i] + fresh * (u * u);
    d[i] = rate * u;
  }
}

template <class T>
void schedule_free_step(T* d, T* z, T* v, const T* y, const ScheduleFreeNumbers& a, size_t n) {
  const T beta2 = static_cast<T>(a.beta2), new2 = static_cast<T>(a.new2);
  const T factor = static_cast<T>(a.root_factor), epsilon = static_cast<T>(a.epsilon);
  const T decay = static_cast<T>(a.decay), share = static_cast<T>(a.share);
  const T z_rate = static_cast<T>(a.z_rate), y_rate = static_cast<T>(a.y_rate);
  for (size_t i = 0; i < n; ++i) {
    v[i] = beta2 * v[i] + new2 * (d[i] * d[i]);
    const T u = d[i] / (std::sqrt(v[i]) * factor + epsilon) + decay * y[i];
    d[i] = share * (z[i] - y[i]) - y_rate * u;
    z[i] -= z_rate * u;
  }
}

// Highway's tables take no templates.
constexpr auto& adamax_floats = adamax_step<float>;
constexpr auto& nadam_floats = nadam_step<float>;
constexpr auto& rmsprop_floats = rmsprop_step<float>;
constexpr auto& centered_rmsprop_floats = centered_rmsprop_step<float>;
constexpr auto& adagrad_floats = adagrad_step<float>;
constexpr auto& adadelta_floats = adadelta_step<float>;
constexpr auto& schedule_free_floats = schedule_free_step<float>;

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(adamax_floats);
HWY_EXPORT(nadam_floats);
HWY_EXPORT(rmsprop_floats);
HWY_EXPORT(centered_rmsprop_floats);
HWY_EXPORT(adagrad_floats);
HWY_EXPORT(adadelta_floats);
HWY_EXPORT(schedule_free_floats);
}  // namespace

// Doubles are there for exactness: the instruction set that every processor has will do.

void adamax(float* d, float* m, float* u, const AdamaxNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(adamax_floats)(d, m, u, a, n);
}
void adamax(double* d, double* m, double* u, const AdamaxNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(adamax_step)(d, m, u, a, n);
}

void nadam(float* d, float* m, float* v, const NadamNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(nadam_floats)(d, m, v, a, n);
}
void nadam(double* d, double* m, double* v, const NadamNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(nadam_step)(d, m, v, a, n);
}

void rmsprop(float* d, float* s, const RmsNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(rmsprop_floats)(d, s, a, n);
}
void rmsprop(double* d, double* s, const RmsNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(rmsprop_step)(d, s, a, n);
}

void centered_rmsprop(float* d, float* s, float* mean, const RmsNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(centered_rmsprop_floats)(d, s, mean, a, n);
}
void centered_rmsprop(double* d, double* s, double* mean, const RmsNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(centered_rmsprop_step)(d, s, mean, a, n);
}

void adagrad(float* d, float* s, const AdagradNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(adagrad_floats)(d, s, a, n);
}
void adagrad(double* d, double* s, const AdagradNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(adagrad_step)(d, s, a, n);
}

void adadelta(float* d, float* s, float* step, const AdadeltaNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(adadelta_floats)(d, s, step, a, n);
}
void adadelta(double* d, double* s, double* step, const AdadeltaNumbers& a, size_t n) noexcept {
  HWY_STATIC_DISPATCH(adadelta_step)(d, s, step, a, n);
}

void schedule_free(float* d, float* z, float* v, const float* y, const ScheduleFreeNumbers& a,
                   size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(schedule_free_floats)(d, z, v, y, a, n);
}
void schedule_free(double* d, double* z, double* v, const double* y, const ScheduleFreeNumbers& a,
                   size_t n) noexcept {
  HWY_STATIC_DISPATCH(schedule_free_step)(d, z, v, y, a, n);
}
}  // namespace rein::kernels
#endif
