#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/update.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "kernels/simd/tail-inl.h"
#include "rein/kernels/update.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

// Full vectors are stored unmasked: masked stores halve the speed of memory on some processors. The
// rest of an array goes through the same arithmetic, so that an element's bits do not depend on
// where it stands.
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

void scale(const float* x, float factor, float* out, size_t n) {
  const D d;
  const V f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), f), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * factor;
}

bool clip(float* x, float lo, float hi, size_t n) {
  const D d;
  const V low = hn::Set(d, lo), high = hn::Set(d, hi);
  auto changed = hn::Lt(low, low);  // none
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const V v = hn::LoadU(d, x + i);
    const auto above = hn::Gt(v, high);  // false for NaN, which stays
    const V cut = hn::IfThenElse(above, high, v);
    const auto below = hn::Lt(cut, low);
    changed = hn::Or(changed, hn::Or(above, below));
    hn::StoreU(hn::IfThenElse(below, low, cut), d, x + i);
  }
  const bool rest = ref::clip_in_place(x + i, lo, hi, n - i);
  return rest || !hn::AllFalse(d, changed);
}

void add(float* w, const float* delta, size_t n) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::Add(hn::LoadU(d, w + i), hn::LoadU(d, delta + i)), d, w + i);
  for (; i < n; ++i) w[i] += delta[i];
}

// The delta; updates the mean and the mean square.
HWY_INLINE V adam_step(D d, const AdamNumbers& a, V gradient, V& m, V& v) {
  const V new1 = hn::Set(d, static_cast<float>(a.new1));
  const V new2 = hn::Set(d, static_cast<float>(a.new2));
  m = hn::MulAdd(hn::Set(d, static_cast<float>(a.beta1)), m, hn::Mul(new1, gradient));
  v = hn::MulAdd(hn::Set(d, static_cast<float>(a.beta2)), v,
                 hn::Mul(new2, hn::Mul(gradient, gradient)));
  const V below = hn::MulAdd(hn::Sqrt(v), hn::Set(d, static_cast<float>(a.root_factor)),
                             hn::Set(d, static_cast<float>(a.epsilon)));
  return hn::Div(hn::Mul(hn::Set(d, static_cast<float>(-a.rate)), m), below);
}

void adam_delta(float* g, float* m, float* v, const AdamNumbers& a, size_t n) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    V mean = hn::LoadU(d, m + i), square = hn::LoadU(d, v + i);
    hn::StoreU(adam_step(d, a, hn::LoadU(d, g + i), mean, square), d, g + i);
    hn::StoreU(mean, d, m + i);
    hn::StoreU(square, d, v + i);
  }
  if (const size_t rest = n - i; rest > 0) {
    V mean = load_first(d, m + i, rest), square = load_first(d, v + i, rest);
    store_first(adam_step(d, a, load_first(d, g + i, rest), mean, square), d, g + i, rest);
    store_first(mean, d, m + i, rest);
    store_first(square, d, v + i, rest);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(scale);
HWY_EXPORT(clip);
HWY_EXPORT(add);
HWY_EXPORT(adam_delta);
}  // namespace

void scale_into(const float* x, double factor, float* out, size_t n) noexcept {
  const float rounded = static_cast<float>(factor);
  if (factor != 0 && std::abs(rounded) < std::numeric_limits<float>::min())
    ref::scale_into(x, factor, out, n);
  else
    HWY_DYNAMIC_DISPATCH(scale)(x, rounded, out, n);
}
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(clip)(x, lo, hi, n);
}
void add_into(float* w, const float* d, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(add)(w, d, n); }
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(adam_delta)(d, m, v, a, n);
}
}  // namespace rein::kernels
#endif
