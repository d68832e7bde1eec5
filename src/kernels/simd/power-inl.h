// Powers of vectors of doubles, for the kernels of this folder: d is a tag of any size. No branches
// on numbers, no tables.
#include <hwy/highway.h>

#include <bit>
#include <cstdint>

#if defined(REIN_KERNELS_SIMD_POWER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_POWER_INL_H_
#undef REIN_KERNELS_SIMD_POWER_INL_H_
#else
#define REIN_KERNELS_SIMD_POWER_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// x^k for k >= 1: what over- or underflows on the way does so in the end.
template <class V>
HWY_INLINE V whole_power(V x, uint32_t k) {
  V y = x;
  for (uint32_t bit = std::bit_floor(k) / 2; bit != 0; bit /= 2) {
    y = hn::Mul(y, y);
    if ((k & bit) != 0) y = hn::Mul(y, x);
  }
  return y;
}

/// c0 + c1 x
template <class D, class V = hn::Vec<D>>
HWY_INLINE V pair_of(D d, V x, double c0, double c1) {
  return hn::MulAdd(hn::Set(d, c1), x, hn::Set(d, c0));
}

/// The logarithm to base 2 of normal positive x, to 1 ulp; of smaller x, which count as 0, -1022 at
/// most; of infinity 1024, of NaN NaN. x = m 2^k with m in [sqrt(1/2), sqrt(2)), then
/// k + s P(s^2) with s = (m - 1) / (m + 1), minimax in the relative error (1.8e-16).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log2(D d, V x) {
  const hn::RebindToUnsigned<D> du;
  constexpr uint64_t kRoot = 0x3fe6a09e667f3bcd, kOne = 0x3ff0000000000000;  // bits: sqrt(1/2), 1
  const auto bits = hn::Add(hn::BitCast(du, x), hn::Set(du, kOne - kRoot));
  // In the last bits of 2^52: k + 1023.
  const auto biased = hn::Or(hn::ShiftRight<52>(bits), hn::Set(du, 0x4330000000000000));
  const V k = hn::Sub(hn::BitCast(d, biased), hn::Set(d, 0x1p52 + 1023));
  const auto fraction = hn::And(bits, hn::Set(du, 0x000fffffffffffff));
  const V m = hn::BitCast(d, hn::Add(fraction, hn::Set(du, kRoot)));
  const V one = hn::Set(d, 1.0);
  const V s = hn::Div(hn::Sub(m, one), hn::Add(m, one));
  const V z = hn::Mul(s, s), z2 = hn::Mul(z, z);
  V p = hn::MulAdd(hn::Set(d, 0.24292899508076048), z2,
                   pair_of(d, z, 0.3206164258462897, 0.26144310984428572));
  p = hn::MulAdd(p, z2, pair_of(d, z, 0.5770780172502934, 0.41219840147305295));
  p = hn::MulAdd(p, z2, pair_of(d, z, 2.8853900817779273, 0.96179669392432457));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::MulAdd(s, p, k));
}

/// 2^t, to 2 ulp; 0 where that is below 2^-1022, infinity where t >= 1024, NaN of NaN.
/// 2^n (1 + r P(r)) with |r| <= 1/2, minimax (4e-16).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2(D d, V t) {
  const hn::RebindToUnsigned<D> du;
  const V bounded = hn::Min(t, hn::Set(d, 1024.0)), shift = hn::Set(d, 0x1.8p52);
  const V shifted = hn::Add(bounded, shift);  // rounds; the last bits are those of the integer n
  const V r = hn::Sub(bounded, hn::Sub(shifted, shift)), r2 = hn::Mul(r, r);
  V p = pair_of(d, r, 1.0205905908571232e-07, 7.0741948949405375e-09);
  p = hn::MulAdd(p, r2, pair_of(d, r, 1.5252672922376583e-05, 1.3215433537755696e-06));
  p = hn::MulAdd(p, r2, pair_of(d, r, 1.3333558200798458e-03, 1.5403530458704715e-04));
  p = hn::MulAdd(p, r2, pair_of(d, r, 5.5504108664651653e-02, 9.6181291075951051e-03));
  p = hn::MulAdd(p, r2, pair_of(d, r, 0.69314718055994616, 0.24022650695910120));
  const V y = hn::MulAdd(r, p, hn::Set(d, 1.0));
  const auto exponent = hn::ShiftLeft<52>(hn::BitCast(du, shifted));
  const V scaled = hn::BitCast(d, hn::Add(hn::BitCast(du, y), exponent));
  return hn::IfThenElse(hn::IsNaN(t), t,
                        hn::IfThenElseZero(hn::Ge(t, hn::Set(d, -1022.0)), scaled));
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
