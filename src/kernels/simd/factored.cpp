#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/factored.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "base/factor.h"
#include "kernels/prefetch.h"
#include "kernels/simd/tail-inl.h"
#include "rein/kernels/factored.h"
#include "rein/kernels/update.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

using Doubles = hn::ScalableTag<double>;
using Halves = hn::Rebind<float, Doubles>;  // as many floats
using D = hn::ScalableTag<float>;

template <class Floats>
HWY_INLINE hn::Vec<Floats> divided(Floats d, hn::Vec<Floats> x, hn::Vec<Floats> columns,
                                   const RowFactors<float>& f) {
  const auto u = hn::Mul(hn::Mul(x, hn::Set(d, f.row)), columns);
  if (!f.bounded) return u;
  const auto bound = hn::Mul(hn::Abs(x), hn::Set(d, f.most));
  return hn::Max(hn::Min(u, bound), hn::Neg(bound));
}

template <bool kPrefetch>
HWY_INLINE double squares_of(float* x, float scale, double* sums, size_t n) {
  const Doubles d;
  const Halves floats;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(floats, scale);
  const bool scales = scale != 1;
  const auto square = [&](size_t at) HWY_ATTR {
    auto v = hn::LoadU(floats, x + at);
    if (scales) hn::StoreU(v = hn::Mul(v, factor), floats, x + at);
    const auto wide = hn::PromoteTo(d, v);
    const auto squared = hn::Mul(wide, wide);
    hn::StoreU(hn::Add(squared, hn::LoadU(d, sums + at)), d, sums + at);
    return squared;
  };
  auto even = hn::Zero(d), odd = even;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    if constexpr (kPrefetch) prefetch(x + i);
    even = hn::Add(even, square(i));
    odd = hn::Add(odd, square(i + lanes));
  }
  const double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  return total + ref::row_squares(x + i, static_cast<double>(scale), sums + i, n - i);
}
double squares(float* x, float scale, double* sums, size_t n) {
  return prefetch_pays() ? squares_of<true>(x, scale, sums, n)
                         : squares_of<false>(x, scale, sums, n);
}

double divided_squares(const float* x, const RowFactors<float>& f, size_t n) {
  const Doubles d;
  const Halves floats;
  const size_t lanes = hn::Lanes(d);
  const auto one = [&](size_t at) HWY_ATTR {
    return hn::PromoteTo(
        d, divided(floats, hn::LoadU(floats, x + at), hn::LoadU(floats, f.columns + at), f));
  };
  auto even = hn::Zero(d), odd = even;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto u = one(i), v = one(i + lanes);
    even = hn::MulAdd(u, u, even);
    odd = hn::MulAdd(v, v, odd);
  }
  const double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  RowFactors<float> rest = f;
  rest.columns += i;
  return total + ref::factored_squares(x + i, rest, n - i);
}

// Calls one(load, store) for all vectors, the rest of the row through the same arithmetic.
template <class F>
HWY_INLINE void for_vectors(size_t n, const F& one) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    one([&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); },
        [&](hn::Vec<D> v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  if (const size_t rest = n - i; rest > 0)
    one([&](const float* p) HWY_ATTR { return load_first(d, p + i, rest); },
        [&](hn::Vec<D> v, float* p) HWY_ATTR { store_first(v, d, p + i, rest); });
}

void delta(const float* x, const RowFactors<float>& f, double a, double b, const float* w,
           float* out, size_t n) {
  const D d;
  const auto of_u = hn::Set(d, static_cast<float>(a)), of_w = hn::Set(d, static_cast<float>(b));
  for_vectors(n, [&](const auto& load, const auto& store) HWY_ATTR {
    const auto u = divided(d, load(x), load(f.columns), f);
    store(hn::MulAdd(of_u, u, hn::Mul(of_w, load(w))), out);
  });
}
void update(const float* x, const RowFactors<float>& f, double a, double b, float* w, size_t n) {
  const D d;
  const auto of_u = hn::Set(d, static_cast<float>(a)), of_w = hn::Set(d, static_cast<float>(b));
  for_vectors(n, [&](const auto& load, const auto& store) HWY_ATTR {
    const auto u = divided(d, load(x), load(f.columns), f), before = load(w);
    store(hn::Add(before, hn::MulAdd(of_u, u, hn::Mul(of_w, before))), w);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(squares);
HWY_EXPORT(divided_squares);
HWY_EXPORT(delta);
HWY_EXPORT(update);
}  // namespace

double row_squares(float* x, double scale, double* sums, size_t n) noexcept {
  if (!needs_double<float>(scale))
    return HWY_DYNAMIC_DISPATCH(squares)(x, static_cast<float>(scale), sums, n);
  scale_into(x, scale, x, n);
  return HWY_DYNAMIC_DISPATCH(squares)(x, 1, sums, n);
}
double factored_squares(const float* x, const RowFactors<float>& f, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(divided_squares)(x, f, n);
}
void factored_delta(const float* x, const RowFactors<float>& f, double a, double b, const float* w,
                    float* out, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(delta)(x, f, a, b, w, out, n);
}
void factored_update(const float* x, const RowFactors<float>& f, double a, double b, float* w,
                     size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(update)(x, f, a, b, w, n);
}
}  // namespace rein::kernels
#endif
