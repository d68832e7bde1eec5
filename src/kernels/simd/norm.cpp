#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/prefetch.h"
#include "kernels/simd/power-inl.h"
#include "rein/kernels/norm.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<double>;
using V = hn::Vec<D>;

template <class N>
HWY_INLINE hn::Vec<N> load(N d, const double* x) {
  return hn::LoadU(d, x);
}
template <class N>
HWY_INLINE hn::Vec<N> load(N d, const float* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, N>(), x));
}

// `add(d, x, sum)` is the sum and the term of x. Four sums side by side, so that additions need not
// wait for each other.
template <bool kPrefetch, class T, class F>
HWY_INLINE double sum_by_fours(const T* x, size_t n, const F& add) {
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
    a = add(d, x0, a);
    b = add(d, x1, b);
    c = add(d, x2, c);
    e = add(d, x3, e);
  }
  const double whole = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  const hn::CappedTag<double, 1> one;
  auto total = hn::Set(one, whole);
  for (; i < n; ++i) total = add(one, load(one, x + i), total);
  return hn::GetLane(total);
}

template <class T, class F>
HWY_INLINE double sum(const T* x, size_t n, const F& add) {
  return prefetch_pays() ? sum_by_fours<true>(x, n, add) : sum_by_fours<false>(x, n, add);
}

struct AddSquare {
  template <class N, class W>
  HWY_INLINE W operator()(N, W x, W sum) const {
    return hn::MulAdd(x, x, sum);
  }
};

double sum_floats(const float* x, size_t n) { return sum(x, n, AddSquare{}); }
double sum_doubles(const double* x, size_t n) { return sum(x, n, AddSquare{}); }

// |x| / unit; dividing takes longer than all else that a whole power takes.
template <bool kDivides>
struct Size {
  double unit;

  template <class N, class W>
  HWY_INLINE W operator()(N d, W x) const {
    if constexpr (kDivides) x = hn::Div(x, hn::Set(d, unit));
    return hn::Abs(x);
  }
};

// The power is `whole`, and a half more.
template <bool kHalf, class S>
struct AddProduct {
  S size;
  uint32_t whole;

  template <class N, class W>
  HWY_INLINE W operator()(N d, W x, W sum) const {
    const W s = size(d, x);
    W y = whole_power(s, whole);
    if constexpr (kHalf) y = hn::Mul(y, hn::Sqrt(s));
    return hn::Add(sum, y);
  }
};

struct AddExp2 {
  template <class N, class W>
  HWY_INLINE W operator()(N d, W t, W sum) const {
    return hn::Add(sum, exp2(d, t));
  }
};

// In two loops: the longer the chain of one, the fewer of its rounds a processor has in work.
template <class T, class S>
HWY_INLINE double sum_by_logarithms(const T* x, size_t n, double p, S size) {
  constexpr size_t kTile = 256;
  HWY_ALIGN double t[kTile];
  const auto logarithm = [&](auto d, size_t i, size_t j) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::Set(d, p), log2(d, size(d, load(d, x + i + j)))), d, t + j);
  };
  const D d;
  const size_t lanes = hn::Lanes(d);
  double total = 0;
  for (size_t i = 0; i < n; i += kTile) {
    const size_t m = std::min(kTile, n - i);
    size_t j = 0;
    for (; j + lanes <= m; j += lanes) logarithm(d, i, j);
    for (; j < m; ++j) logarithm(hn::CappedTag<double, 1>(), i, j);
    total += sum_by_fours<false>(t, m, AddExp2{});
  }
  return total;
}

// Products are faster than logarithms, also many of them.
template <class T, class S>
HWY_INLINE double sum_powers_of(const T* x, size_t n, double p, S size) {
  if (p > 64 || 2 * p != std::floor(2 * p)) return sum_by_logarithms(x, n, p, size);
  const auto whole = static_cast<uint32_t>(p);
  return p == whole ? sum(x, n, AddProduct<false, S>{size, whole})
                    : sum(x, n, AddProduct<true, S>{size, whole});
}
template <class T>
HWY_INLINE double sum_powers(const T* x, size_t n, double p, double unit) {
  return unit == 1 ? sum_powers_of(x, n, p, Size<false>{1})
                   : sum_powers_of(x, n, p, Size<true>{unit});
}
double sum_powers_of_floats(const float* x, size_t n, double p, double unit) {
  return sum_powers(x, n, p, unit);
}
double sum_powers_of_doubles(const double* x, size_t n, double p, double unit) {
  return sum_powers(x, n, p, unit);
}

// Without their signs, bits are in the order of the numbers: infinity above them, NaN above that.
template <class N, class T>
HWY_INLINE hn::Vec<hn::RebindToSigned<N>> size_bits(N d, const T* x) {
  const hn::RebindToSigned<N> di;
  const auto sizes = hn::Set(di, std::numeric_limits<hwy::MakeSigned<T>>::max());
  return hn::And(hn::BitCast(di, hn::LoadU(d, x)), sizes);
}

template <bool kPrefetch, class T>
HWY_INLINE double largest(const T* x, size_t n) {
  using Bits = hwy::MakeSigned<T>;
  const hn::ScalableTag<T> d;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(di), b = a, c = a, e = a;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    constexpr size_t kLine = 64 / sizeof(T);
    if constexpr (kPrefetch)
      for (size_t k = 0; k < 4 * lanes; k += kLine) prefetch(x + i + k);
    a = hn::Max(a, size_bits(d, x + i));
    b = hn::Max(b, size_bits(d, x + i + lanes));
    c = hn::Max(c, size_bits(d, x + i + 2 * lanes));
    e = hn::Max(e, size_bits(d, x + i + 3 * lanes));
  }
  Bits most = hn::GetLane(hn::MaxOfLanes(di, hn::Max(hn::Max(a, b), hn::Max(c, e))));
  for (; i < n; ++i) most = std::max(most, std::bit_cast<Bits>(std::abs(x[i])));
  const T size = std::bit_cast<T>(most);
  return size == 0 ? 0 : static_cast<double>(size);  // so it is where denormals are zero
}

template <class T>
HWY_INLINE double largest(const T* x, size_t n) {
  return prefetch_pays() ? largest<true>(x, n) : largest<false>(x, n);
}
double largest_of_floats(const float* x, size_t n) { return largest(x, n); }
double largest_of_doubles(const double* x, size_t n) { return largest(x, n); }

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
HWY_EXPORT(sum_powers_of_floats);
HWY_EXPORT(sum_powers_of_doubles);
HWY_EXPORT(largest_of_floats);
HWY_EXPORT(largest_of_doubles);
HWY_EXPORT(add_squares_of_floats);
}  // namespace

double sum_of_squares(const float* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_floats)(x, n);
}
double sum_of_squares(const double* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_doubles)(x, n);
}
double sum_of_powers(const float* x, size_t n, double p, double unit) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_powers_of_floats)(x, n, p, unit);
}
double sum_of_powers(const double* x, size_t n, double p, double unit) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_powers_of_doubles)(x, n, p, unit);
}
double largest_size(const float* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(largest_of_floats)(x, n);
}
double largest_size(const double* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(largest_of_doubles)(x, n);
}
void add_squares(double* sums, const float* x, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(add_squares_of_floats)(sums, x, n);
}
}  // namespace rein::kernels
#endif
