#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/update.cpp"
#include "rein/kernels/update.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace rein::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Full vectors are stored unmasked: masked stores halve the speed of memory on some processors.
void Scale(const float* x, float factor, float* out, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), f), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * factor;
}

bool Clip(float* x, float lo, float hi, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto vlo = hn::Set(d, lo), vhi = hn::Set(d, hi);
  auto changed = hn::Lt(vlo, vlo);  // nothing
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    const auto above = hn::Lt(vhi, v);  // false for NaN, which stays
    const auto low = hn::IfThenElse(above, vhi, v);
    const auto below = hn::Lt(low, vlo);
    changed = hn::Or(changed, hn::Or(above, below));
    hn::StoreU(hn::IfThenElse(below, vlo, low), d, x + i);
  }
  bool any = !hn::AllFalse(d, changed);
  if (i < n) any |= ref::clip_in_place(x + i, lo, hi, n - i);
  return any;
}

void AddInto(float* w, const float* delta, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, w + i), hn::LoadU(d, delta + i)), d, w + i);
  for (; i < n; ++i) w[i] += delta[i];
}

void Adam(float* g, float* m, float* v, const AdamNumbers& a, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto beta1 = hn::Set(d, static_cast<float>(a.beta1));
  const auto beta2 = hn::Set(d, static_cast<float>(a.beta2));
  const auto new1 = hn::Set(d, static_cast<float>(a.new1));
  const auto new2 = hn::Set(d, static_cast<float>(a.new2));
  const auto rate = hn::Set(d, static_cast<float>(-a.rate));
  const auto factor = hn::Set(d, static_cast<float>(a.root_factor));
  const auto epsilon = hn::Set(d, static_cast<float>(a.epsilon));
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto gradient = hn::LoadU(d, g + i);
    const auto mean = hn::MulAdd(beta1, hn::LoadU(d, m + i), hn::Mul(new1, gradient));
    const auto square = hn::Mul(new2, hn::Mul(gradient, gradient));
    const auto variance = hn::MulAdd(beta2, hn::LoadU(d, v + i), square);
    hn::StoreU(mean, d, m + i);
    hn::StoreU(variance, d, v + i);
    const auto below = hn::MulAdd(hn::Sqrt(variance), factor, epsilon);
    hn::StoreU(hn::Div(hn::Mul(rate, mean), below), d, g + i);
  }
  if (i == n) return;
  // The rest as one more full vector, so that an element's bits do not depend on where it stands.
  HWY_ALIGN float rest[3][HWY_MAX_BYTES / sizeof(float)] = {};
  float* const from[3] = {g + i, m + i, v + i};
  for (size_t k = 0; k < 3; ++k) std::copy_n(from[k], n - i, rest[k]);
  Adam(rest[0], rest[1], rest[2], a, lanes);
  for (size_t k = 0; k < 3; ++k) std::copy_n(rest[k], n - i, from[k]);
}

}  // namespace rein::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(Scale);
HWY_EXPORT(Clip);
HWY_EXPORT(AddInto);
HWY_EXPORT(Adam);
}  // namespace

void scale_into(const float* x, double factor, float* out, size_t n) noexcept {
  const float rounded = static_cast<float>(factor);
  if (factor != 0 && std::abs(rounded) < std::numeric_limits<float>::min())
    ref::scale_into(x, factor, out, n);
  else
    HWY_DYNAMIC_DISPATCH(Scale)(x, rounded, out, n);
}
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(Clip)(x, lo, hi, n);
}
void add_into(float* w, const float* d, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(AddInto)(w, d, n);
}
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Adam)(d, m, v, a, n);
}
}  // namespace rein::kernels
#endif
