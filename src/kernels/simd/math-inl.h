// Functions on vectors of floats, for the kernels of this folder: `exp(d, x)` for a tag d of any
// size. Errors are at most 3 ulp over the whole range, denormals included; NaN gives NaN, and
// infinities and zeros give what the exact function gives. No branches, no tables.
#include <hwy/highway.h>

#include <limits>

#if defined(REIN_KERNELS_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_MATH_INL_H_
#undef REIN_KERNELS_SIMD_MATH_INL_H_
#else
#define REIN_KERNELS_SIMD_MATH_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// a > b ? a : b and a < b ? a : b: the second where either is NaN. (Highway leaves that open: its
/// fallback drops NaN; on x86 Max and Min are just this.)
template <class V>
HWY_INLINE V larger(V a, V b) {
#if HWY_TARGET <= HWY_SSE4
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}
template <class V>
HWY_INLINE V smaller(V a, V b) {
#if HWY_TARGET <= HWY_SSE4
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}

/// NaN if either is.
template <class V>
HWY_INLINE V maximum(V a, V b) {
  return hn::IfThenElse(hn::IsNaN(a), a, larger(a, b));
}
template <class V>
HWY_INLINE V minimum(V a, V b) {
  return hn::IfThenElse(hn::IsNaN(a), a, smaller(a, b));
}

/// x not below or above a bound; NaN stays.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V at_least(D d, float bound, V x) {
  return larger(hn::Set(d, bound), x);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V at_most(D d, float bound, V x) {
  return smaller(hn::Set(d, bound), x);
}

/// A whole number n is kept as the float n + kShift, |n| < 2^22: adding kShift rounds, and the last
/// bits are those of the integer n.
inline constexpr float kShift = 0x1.8p23f;

/// n and r with x = n ln2 + r, |r| <= ln2/2; returns n + kShift. ln2 stands in two parts, of which
/// n times the first is exact.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V split_by_ln2(D d, V x, V& r) {
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), hn::Set(d, kShift));
  const V n = hn::Sub(shifted, hn::Set(d, kShift));
  r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 1.428606820309417e-06f), r);
  return shifted;
}

/// 2^n for -126 <= n <= 127.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V power_of_2(D d, V shifted) {
  const hn::RebindToSigned<D> di;
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));  // that of kShift falls out
  return hn::BitCast(d, hn::Add(exponent, hn::BitCast(di, hn::Set(d, 1.0f))));
}

/// v 2^n, rounded once, for -252 <= n <= 254 and v in [1/2, 2].
template <class D, class V = hn::Vec<D>>
HWY_INLINE V scale(D d, V v, V shifted) {
#if HWY_TARGET <= HWY_AVX3
  const V n = hn::Sub(shifted, hn::Set(d, kShift));
  if constexpr (sizeof(v.raw) == 64)
    return V{_mm512_scalef_ps(v.raw, n.raw)};
  else if constexpr (sizeof(v.raw) == 32)
    return V{_mm256_scalef_ps(v.raw, n.raw)};
  else
    return V{_mm_scalef_ps(v.raw, n.raw)};
#else  // in two steps, of which the first is exact
  const hn::RebindToSigned<D> di;
  const auto bias = hn::BitCast(di, hn::Set(d, kShift));
  const auto n = hn::Sub(hn::BitCast(di, shifted), bias);
  const auto half = hn::Add(hn::ShiftRight<1>(n), bias);
  const auto rest = hn::Add(hn::Sub(n, hn::ShiftRight<1>(n)), bias);
  return hn::Mul(hn::Mul(v, power_of_2(d, hn::BitCast(d, half))),
                 power_of_2(d, hn::BitCast(d, rest)));
#endif
}

/// c0 + c1 x, for polynomials in pairs: half the chain of Horner's form at the same number of
/// instructions where x^2 is needed anyway.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V pair(D d, V x, float c0, float c1) {
  return hn::MulAdd(hn::Set(d, c1), x, hn::Set(d, c0));
}

/// exp(r) - 1 for |r| <= ln2/2: r + r^2 P(r), minimax in the relative error (2.4e-10).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V expm1_near_0(D d, V r) {
  const V r2 = hn::Mul(r, r);
  V p = pair(d, r, 1.39406684589e-3f, 1.98458814418e-4f);
  p = hn::MulAdd(p, r2, pair(d, r, 4.16663604287e-2f, 8.33338945874e-3f));
  p = hn::MulAdd(p, r2, pair(d, r, 5.00000004427e-1f, 1.66666663698e-1f));
  return hn::MulAdd(r2, p, r);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp(D d, V x) {
  // exp(-104) rounds to 0, exp(89) to infinity.
  V r;
  const V n = split_by_ln2(d, at_least(d, -104.0f, at_most(d, 89.0f, x)), r);
  return scale(d, hn::Add(hn::Set(d, 1.0f), expm1_near_0(d, r)), n);
}

/// a / b for 1 <= b < 2^126. Dividing 16 numbers takes an Intel core 16 cycles, an estimate and a
/// Newton step on the quotient, which leaves it within 0.6 ulp, 3.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V divide([[maybe_unused]] D d, V a, V b) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(b.raw) == 64) {
    const V inverse{_mm512_rcp14_ps(b.raw)};
    const V quotient = hn::Mul(a, inverse);
    return hn::MulAdd(hn::NegMulAdd(b, quotient, a), inverse, quotient);
  }
#endif
  return hn::Div(a, b);
}

/// sigmoid and tanh in the two parts before and after expm1_near_0, for those who do many side by
/// side. Of sigmoid: e / (1 + e) or 1 / (1 + e), with e = exp(-|x|).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V begin_sigmoid(D d, V x, V& r) {
  return split_by_ln2(d, at_least(d, -104.0f, hn::Neg(hn::Abs(x))), r);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V end_sigmoid(D d, V x, V n, V expm1_r) {
  const V one = hn::Set(d, 1.0f), e = scale(d, hn::Add(one, expm1_r), n);
  return divide(d, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
}
/// Of tanh: m / (m + 2) with the sign of x, m = exp(2|x|) - 1: nothing cancels near 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V begin_tanh(D d, V x, V& r) {
  const V a = hn::Abs(x);
  return split_by_ln2(d, at_most(d, 20.0f, hn::Add(a, a)), r);  // tanh(10) rounds to 1
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V end_tanh(D d, V x, V n, V expm1_r) {
  const V s = power_of_2(d, n);
  const V m = hn::MulAdd(s, expm1_r, hn::Sub(s, hn::Set(d, 1.0f)));
  return hn::CopySignToAbs(divide(d, m, hn::Add(m, hn::Set(d, 2.0f))), x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  V r;
  const V n = begin_sigmoid(d, x, r);
  return end_sigmoid(d, x, n, expm1_near_0(d, r));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh(D d, V x) {
  V r;
  const V n = begin_tanh(d, x, r);
  return end_tanh(d, x, n, expm1_near_0(d, r));
}

/// exp(-|x|), which cannot overflow.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_minus_abs(D d, V x) {
  V r;
  const V n = begin_sigmoid(d, x, r);
  return scale(d, hn::Add(hn::Set(d, 1.0f), expm1_near_0(d, r)), n);
}

/// log(x 2^e) for normal positive x and whole e: x = m 2^k with m in [sqrt(1/2), sqrt(2)), then
/// (k + e) ln2 + f - f^2/2 + f^3 P(f) with f = m - 1, minimax in the relative error (5.8e-9).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_of_normal(D d, V x, V e) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, x);
  const auto k = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // bits of sqrt(1/2)
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(k))), hn::Set(d, 1.0f));
  const V n = hn::Add(hn::ConvertTo(d, k), e);
  const V f2 = hn::Mul(f, f);
  V p = pair(d, f, 1.2761575403e-1f, -7.63449519522e-2f);
  p = hn::MulAdd(p, f2, pair(d, f, 1.42017582407e-1f, -1.31601820837e-1f));
  p = hn::MulAdd(p, f2, pair(d, f, 2.0001226866e-1f, -1.66233574119e-1f));
  p = hn::MulAdd(p, f2, pair(d, f, 3.33333317079e-1f, -2.50008210318e-1f));
  V small = hn::MulAdd(hn::Mul(f2, f), p, hn::Mul(n, hn::Set(d, 1.428606820309417e-06f)));
  small = hn::NegMulAdd(f2, hn::Set(d, 0.5f), small);
  return hn::MulAdd(n, hn::Set(d, 0.693145751953125f), hn::Add(f, small));
}

/// -infinity at 0, NaN below.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log(D d, V x) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const V zero = hn::Zero(d);
  const auto denormal = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const V y = log_of_normal(d, hn::IfThenElse(denormal, hn::Mul(x, hn::Set(d, 0x1p23f)), x),
                            hn::IfThenElse(denormal, hn::Set(d, -23.0f), zero));
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V special =  // x is 0, negative, infinite or NaN
      hn::IfThenElse(hn::Eq(x, zero), hn::Set(d, -kInfinity),
                     hn::IfThenElse(hn::Lt(x, zero), nan, x));
  return hn::IfThenElse(hn::And(hn::Gt(x, zero), hn::Lt(x, hn::Set(d, kInfinity))), y, special);
}

/// log(1 + e) for 0 <= e <= 1: what the rounding of 1 + e loses is added back.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log1p_to_1(D d, V e) {
  const V one = hn::Set(d, 1.0f), u = hn::Add(one, e);
  const V lost = hn::Sub(e, hn::Sub(u, one));
  return hn::Add(log_of_normal(d, u, hn::Zero(d)), hn::Div(lost, u));
}

/// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
template <class D, class V = hn::Vec<D>>
HWY_INLINE V softplus(D d, V x) {
  return hn::Add(at_least(d, 0.0f, x), log1p_to_1(d, exp_minus_abs(d, x)));
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
