#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/prefetch.h"
#include "rein/kernels/norm.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<double>;
using V = hn::Vec<D>;

HWY_INLINE V load(D d, const double* x) { return hn::LoadU(d, x); }
HWY_INLINE V load(D d, const float* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
}

// Four sums side by side, so that additions need not wait for each other.
template <bool kPrefetch, class T>
HWY_INLINE double sum(const T* x, size_t n) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  V a = hn::Zero(d), b = a, c = a, e = a;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    constexpr size_t kLine = 64 / sizeof(T);
    if constexpr (kPrefetch)
      for (size_t k = 0; k < 4 * lanes; k += kLine) prefetch(x + i + k);
    const V x0 = load(d, x + i), x1 = load(d, x + i + lanes);
    const V x2 = load(d, x + i + 2 * lanes), x3 = load(d, x + i + 3 * lanes);
    a = hn::MulAdd(x0, x0, a);
    b = hn::MulAdd(x1, x1, b);
    c = hn::MulAdd(x2, x2, c);
    e = hn::MulAdd(x3, x3, e);
  }
  double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

double sum_floats(const float* x, size_t n) {
  return prefetch_pays() ? sum<true>(x, n) : sum<false>(x, n);
}
double sum_doubles(const double* x, size_t n) {
  return prefetch_pays() ? sum<true>(x, n) : sum<false>(x, n);
}

// The square of a float is exact in double, so that fused and apart are the same bits.
template <bool kPrefetch>
HWY_INLINE void add_each(double* sums, const float* x, size_t n) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    if constexpr (kPrefetch) prefetch(x + i);
    const V v = load(d, x + i);
    hn::StoreU(hn::MulAdd(v, v, hn::LoadU(d, sums + i)), d, sums + i);
  }
  ref::add_squares(sums + i, x + i, n - i);
}
void add_squares_of_floats(double* sums, const float* x, size_t n) {
  prefetch_pays() ? add_each<true>(sums, x, n) : add_each<false>(sums, x, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(sum_floats);
HWY_EXPORT(sum_doubles);
HWY_EXPORT(add_squares_of_floats);
}  // namespace

double sum_of_squares(const float* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_floats)(x, n);
}
double sum_of_squares(const double* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_doubles)(x, n);
}
void add_squares(double* sums, const float* x, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(add_squares_of_floats)(sums, x, n);
}
}  // namespace rein::kernels
#endif
