#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/update.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/factor.h"
#include "kernels/prefetch.h"
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

HWY_INLINE V set(D d, double x) { return hn::Set(d, static_cast<float>(x)); }

void scale(const float* x, float factor, float* out, size_t n) {
  const D d;
  const V f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), f), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * factor;
}

// A mask of doubles for as many floats.
template <class Doubles, class Floats = hn::Rebind<float, Doubles>>
HWY_INLINE hn::Mask<Floats> for_floats(Doubles d, hn::Mask<Doubles> mask) {
  const Floats floats;
  return hn::Gt(hn::DemoteTo(floats, hn::IfThenElseZero(mask, hn::Set(d, 1.0))), hn::Zero(floats));
}

void scale_by_each(const double* factors, float* x, size_t n) {
  // Highway's scalar DemoteTo makes infinities finite.
  if (HWY_TARGET == HWY_SCALAR) return ref::scale_each(factors, x, n);
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, hn::ScalableTag<double>> floats;
  const auto one = hn::Set(d, 1.0);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto v = hn::LoadU(floats, x + i);
    const auto f = hn::LoadU(d, factors + i);
    const auto product = hn::DemoteTo(floats, hn::Mul(hn::PromoteTo(d, v), f));
    const auto same = for_floats(d, hn::Eq(f, one));
    hn::StoreU(hn::IfThenElse(same, v, product), floats, x + i);
  }
  ref::scale_each(factors + i, x + i, n - i);
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

// Where a square is too small or too large for a float, the plain twin takes the vector.
template <bool kPrefetch>
HWY_INLINE bool clip_each(float* x, const float* root, float* coming, const SpikeNumbers& a,
                          size_t n) {
  const D d;
  const V zero = hn::Zero(d), theta = set(d, a.root_theta);
  const V beta = set(d, a.beta2), fresh = set(d, 1 - a.beta2);
  const V least = hn::Set(d, kLeastSquare<float>);
  const V most = hn::Set(d, std::numeric_limits<float>::max());
  bool changed = false;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    if constexpr (kPrefetch) prefetch(root + i), prefetch(coming + i);
    const V g = hn::LoadU(d, x + i), r = hn::LoadU(d, root + i), limit = hn::Mul(theta, r);
    const auto spike = hn::And(hn::Gt(r, zero), hn::Gt(hn::Abs(g), limit));
    const V left = hn::IfThenElse(spike, hn::CopySign(limit, g), g);
    const V square = hn::Add(hn::Mul(hn::Mul(beta, r), r), hn::Mul(hn::Mul(fresh, left), left));
    const auto held = hn::And(hn::Ge(square, least), hn::Le(square, most));
    const auto nothing = hn::And(hn::Eq(r, zero), hn::Eq(left, zero));
    if (!hn::AllTrue(d, hn::Or(held, nothing))) {
      changed |= ref::clip_spikes(x + i, root + i, coming + i, a, hn::Lanes(d));
      continue;
    }
    hn::StoreU(hn::Sqrt(square), d, coming + i);
    if (hn::AllFalse(d, spike)) continue;
    changed = true;
    hn::StoreU(left, d, x + i);
  }
  return ref::clip_spikes(x + i, root + i, coming + i, a, n - i) || changed;
}
bool spikes(float* x, const float* root, float* coming, const SpikeNumbers& a, size_t n) {
  return prefetch_pays() ? clip_each<true>(x, root, coming, a, n)
                         : clip_each<false>(x, root, coming, a, n);
}

void add(float* w, const float* delta, size_t n) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::Add(hn::LoadU(d, w + i), hn::LoadU(d, delta + i)), d, w + i);
  for (; i < n; ++i) w[i] += delta[i];
}

void combine_two(double a, const float* x, double b, const float* y, float* out, size_t n) {
  const D d;
  const V of_x = set(d, a), of_y = set(d, b);
  const auto one = [&](V v, V w) HWY_ATTR { return hn::MulAdd(of_x, v, hn::Mul(of_y, w)); };
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(one(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, out + i);
  if (const size_t rest = n - i; rest > 0)
    store_first(one(load_first(d, x + i, rest), load_first(d, y + i, rest)), d, out + i, rest);
}

// Calls step(d, x) for vectors x of all arrays side by side; the first kStored are stored again.
template <size_t kStored, bool kPrefetch = false, class Step, class... Read>
HWY_INLINE void step_through(float* const (&stored)[kStored], size_t n, const Step& step,
                             const Read*... read) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    if constexpr (kPrefetch) {
      (prefetch(read + i), ...);
      for (float* array : stored) prefetch(array + i);
    }
    V x[kStored + sizeof...(Read)];
    size_t k = 0;
    for (; k < kStored; ++k) x[k] = hn::LoadU(d, stored[k] + i);
    ((x[k++] = hn::LoadU(d, read + i)), ...);
    step(d, x);
    for (k = 0; k < kStored; ++k) hn::StoreU(x[k], d, stored[k] + i);
  }
  if (const size_t rest = n - i; rest > 0) {
    V x[kStored + sizeof...(Read)];
    size_t k = 0;
    for (; k < kStored; ++k) x[k] = load_first(d, stored[k] + i, rest);
    ((x[k++] = load_first(d, read + i, rest)), ...);
    step(d, x);
    for (k = 0; k < kStored; ++k) store_first(x[k], d, stored[k] + i, rest);
  }
}

// Of each rule the numbers as vectors, and what happens to its arrays.

struct Adam {
  V beta1, beta2, new1, new2, rate, factor, epsilon;
  HWY_INLINE Adam(D d, const AdamNumbers& a)
      : beta1(set(d, a.beta1)),
        beta2(set(d, a.beta2)),
        new1(set(d, a.new1)),
        new2(set(d, a.new2)),
        rate(set(d, -a.rate)),
        factor(set(d, a.root_factor)),
        epsilon(set(d, a.epsilon)) {}

  HWY_INLINE void moments(V gradient, V& m, V& v) const {
    m = hn::MulAdd(beta1, m, hn::Mul(new1, gradient));
    v = hn::MulAdd(beta2, v, hn::Mul(new2, hn::Mul(gradient, gradient)));
  }
  HWY_INLINE V delta(V m, V square) const {
    return hn::Div(hn::Mul(rate, m), hn::MulAdd(hn::Sqrt(square), factor, epsilon));
  }
  HWY_INLINE void operator()(D, V (&x)[3]) const {
    moments(x[0], x[1], x[2]);
    x[0] = delta(x[1], x[2]);
  }
};

// With the factor of the gradient, and the addition to the parameters.
struct AdamUpdate : Adam {
  V scale;
  HWY_INLINE AdamUpdate(D d, const AdamNumbers& a, float f) : Adam(d, a), scale(hn::Set(d, f)) {}

  HWY_INLINE void operator()(D, V (&x)[4]) const {
    moments(hn::Mul(x[3], scale), x[1], x[2]);
    x[0] = hn::Add(x[0], delta(x[1], x[2]));
  }
};

struct AmsGrad : Adam {
  V square_factor;
  HWY_INLINE AmsGrad(D d, const AdamNumbers& a, double f) : Adam(d, a), square_factor(set(d, f)) {}

  HWY_INLINE void operator()(D, V (&x)[4]) const {
    moments(x[0], x[1], x[2]);
    const V square = hn::Mul(x[2], square_factor);
    x[3] = hn::IfThenElse(hn::Lt(square, x[3]), x[3], square);  // NaN is kept
    x[0] = delta(x[1], x[3]);
  }
};

struct Lion {
  V beta1, new1, beta2, new2, rate;
  HWY_INLINE Lion(D d, const LionNumbers& a)
      : beta1(set(d, a.beta1)),
        new1(set(d, a.new1)),
        beta2(set(d, a.beta2)),
        new2(set(d, a.new2)),
        rate(set(d, a.rate)) {}

  HWY_INLINE void operator()(D d, V (&x)[2]) const {
    const V direction = hn::MulAdd(beta1, x[1], hn::Mul(new1, x[0]));
    x[1] = hn::MulAdd(beta2, x[1], hn::Mul(new2, x[0]));
    const V down = hn::IfThenElse(hn::Gt(direction, hn::Zero(d)), hn::Neg(rate), direction);
    x[0] = hn::IfThenElse(hn::Lt(direction, hn::Zero(d)), rate, down);
  }
};

struct Rprop {
  V decrease, increase, min_step, max_step;
  HWY_INLINE Rprop(D d, const RpropNumbers& a)
      : decrease(set(d, a.decrease)),
        increase(set(d, a.increase)),
        min_step(set(d, a.min_step)),
        max_step(set(d, a.max_step)) {}

  HWY_INLINE void operator()(D d, V (&x)[3]) const {
    const V zero = hn::Zero(d), product = hn::Mul(x[0], x[1]);
    const auto turned = hn::Lt(product, zero);
    const V grown = hn::IfThenElse(hn::Gt(product, zero), hn::Mul(x[2], increase), x[2]);
    const V step = hn::IfThenElse(turned, hn::Mul(x[2], decrease), grown);
    const V at_least = hn::IfThenElse(hn::Lt(step, min_step), min_step, step);
    x[2] = hn::IfThenElse(hn::Lt(max_step, at_least), max_step, at_least);
    x[1] = hn::IfThenZeroElse(turned, x[0]);
    const V down = hn::IfThenElse(hn::Gt(x[1], zero), hn::Neg(x[2]), x[1]);
    x[0] = hn::IfThenElse(hn::Lt(x[1], zero), x[2], down);
  }
};

struct Ftrl {
  V by_rate, l1, fixed, shrinkage;  // divisions are slower than memory
  HWY_INLINE Ftrl(D d, const FtrlNumbers& a)
      : by_rate(set(d, 1 / a.rate)),
        l1(set(d, a.l1)),
        fixed(set(d, a.fixed)),
        shrinkage(set(d, a.shrinkage)) {}

  HWY_INLINE void operator()(D d, V (&x)[4]) const {
    const V g = x[0], w = x[3], sum = hn::MulAdd(g, g, x[1]), root = hn::Sqrt(sum);
    const V sigma = hn::Mul(hn::Sub(root, hn::Sqrt(x[1])), by_rate);
    x[2] = hn::Add(x[2], hn::NegMulAdd(sigma, w, hn::MulAdd(shrinkage, w, g)));
    x[1] = sum;
    const V z = x[2], beyond = hn::Sub(hn::CopySign(l1, z), z);
    const V outside = hn::Div(beyond, hn::MulAdd(root, by_rate, fixed));
    // Inside 0, but NaN of NaN.
    const V next = hn::IfThenElse(hn::Gt(hn::Abs(z), l1), outside, hn::Mul(z, hn::Zero(d)));
    x[0] = hn::Sub(next, w);
  }
};

void adam_step(float* g, float* m, float* v, const AdamNumbers& a, size_t n) {
  step_through<3>({g, m, v}, n, Adam(D(), a));
}
void amsgrad_step(float* g, float* m, float* v, float* s, const AdamNumbers& a,
                  double square_factor, size_t n) {
  step_through<4>({g, m, v, s}, n, AmsGrad(D(), a, square_factor));
}
void lion_step(float* g, float* m, const LionNumbers& a, size_t n) {
  step_through<2>({g, m}, n, Lion(D(), a));
}
void rprop_step(float* g, float* previous, float* step, const RpropNumbers& a, size_t n) {
  step_through<3>({g, previous, step}, n, Rprop(D(), a));
}
void ftrl_step(float* g, float* n, float* z, const float* w, const FtrlNumbers& a, size_t size) {
  step_through<3>({g, n, z}, size, Ftrl(D(), a), w);
}

void adam_whole(const float* g, float factor, float* w, float* m, float* v, const AdamNumbers& a,
                size_t n) {
  const AdamUpdate step(D(), a, factor);
  if (prefetch_pays())
    step_through<3, true>({w, m, v}, n, step, g);
  else
    step_through<3>({w, m, v}, n, step, g);
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
HWY_EXPORT(scale_by_each);
HWY_EXPORT(spikes);
HWY_EXPORT(add);
HWY_EXPORT(combine_two);
HWY_EXPORT(adam_step);
HWY_EXPORT(amsgrad_step);
HWY_EXPORT(lion_step);
HWY_EXPORT(rprop_step);
HWY_EXPORT(ftrl_step);
HWY_EXPORT(adam_whole);
}  // namespace

void scale_into(const float* x, double factor, float* out, size_t n) noexcept {
  if (needs_double<float>(factor))
    ref::scale_into(x, factor, out, n);
  else
    HWY_DYNAMIC_DISPATCH(scale)(x, static_cast<float>(factor), out, n);
}
void scale_each(const double* factors, float* x, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(scale_by_each)(factors, x, n);
}
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(clip)(x, lo, hi, n);
}
bool clip_spikes(float* x, const float* root, float* coming, const SpikeNumbers& a,
                 size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(spikes)(x, root, coming, a, n);
}
void add_into(float* w, const float* d, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(add)(w, d, n); }
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(adam_step)(d, m, v, a, n);
}
void amsgrad(float* d, float* m, float* v, float* s, const AdamNumbers& a, double square_factor,
             size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(amsgrad_step)(d, m, v, s, a, square_factor, n);
}
void combine(double a, const float* x, double b, const float* y, float* out, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(combine_two)(a, x, b, y, out, n);
}
void lion(float* d, float* m, const LionNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(lion_step)(d, m, a, n);
}
void rprop(float* d, float* previous, float* step, const RpropNumbers& a, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(rprop_step)(d, previous, step, a, n);
}
void ftrl(float* d, float* n, float* z, const float* w, const FtrlNumbers& a,
          size_t size) noexcept {
  HWY_DYNAMIC_DISPATCH(ftrl_step)(d, n, z, w, a, size);
}
void adam_update(const float* gradient, double factor, float* w, float* m, float* v,
                 const AdamNumbers& a, size_t n) noexcept {
  if (!needs_double<float>(factor)) {
    HWY_DYNAMIC_DISPATCH(adam_whole)(gradient, static_cast<float>(factor), w, m, v, a, n);
    return;
  }
  float d[256];
  for (size_t i = 0; i < n; i += std::size(d)) {
    const size_t count = std::min(std::size(d), n - i);
    scale_into(gradient + i, factor, d, count);
    adam(d, m + i, v + i, a, count);
    add_into(w + i, d, count);
  }
}
}  // namespace rein::kernels
#endif
