// From float32 to pairs of bfloat16, in the layouts that tile products read.
#include <algorithm>
#include <cstring>

#include "kernels/tile_product.h"

#if defined(REIN_KERNELS_SIMD_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_BF16_INL_H_
#undef REIN_KERNELS_SIMD_BF16_INL_H_
#else
#define REIN_KERNELS_SIMD_BF16_INL_H_
#endif

#include "kernels/simd/tail-inl.h"
#include "kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Words = hn::RebindToUnsigned<Floats>;
using WordVector = hn::Vec<Words>;

/// The two numbers of pairs, as floats.
HWY_INLINE Vector first_of(WordVector pairs) {
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(pairs));
}
HWY_INLINE Vector second_of(WordVector pairs) {
  return hn::BitCast(Floats(), hn::And(pairs, hn::Set(Words(), 0xffff0000u)));
}

/// x as bfloat16, to nearest even, in the upper halves; the lower ones hold anything. NaN stays.
HWY_INLINE WordVector rounded(Vector x) {
  const Words d;
  const auto bits = hn::BitCast(d, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1u));
  const auto near = hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7fffu)));
  const auto nan = hn::Or(bits, hn::Set(d, 0x00400000u));
  return hn::IfThenElse(hn::RebindMask(d, hn::Ne(x, x)), nan, near);
}

HWY_INLINE WordVector paired(WordVector first, WordVector second) {
  return hn::Or(hn::ShiftRight<16>(first), hn::And(second, hn::Set(Words(), 0xffff0000u)));
}

/// What rounding took from x; nothing of what is infinite or NaN.
HWY_INLINE Vector lost(Vector x, WordVector high) {
  const Floats d;
  const Vector h = second_of(high);
  const auto finite = hn::Lt(hn::Abs(h), hn::Set(d, std::numeric_limits<float>::infinity()));
  return hn::IfThenElseZero(finite, hn::Sub(x, h));
}

/// Pairs of x and y, lane by lane; `low` gets what the high ones lost, if it is there.
HWY_INLINE WordVector make_pairs(Vector x, Vector y, WordVector* low) {
  const auto first = rounded(x), second = rounded(y);
  if (low) *low = paired(rounded(lost(x, first)), rounded(lost(y, second)));
  return paired(first, second);
}

// n numbers, fewer than a vector at the end, or none.
HWY_INLINE Vector load_some(const float* from, int64_t n) {
  const Floats d;
  if (n >= kLanes) return hn::LoadU(d, from);
  return n <= 0 ? hn::Zero(d) : load_first(d, from, static_cast<size_t>(n));
}

/// 16 pairs of two rows of n <= 16 numbers, zeros past them: (x[i], y[i]). y may be null, as zeros.
HWY_INLINE void pair_rows(const float* x, const float* y, int64_t n, Pair* to, Pair* low) {
  const Words d;
  for (int64_t i = 0; i < kTile; i += kLanes) {
    WordVector rest = hn::Zero(d);
    const auto second = y ? load_some(y + i, n - i) : hn::Zero(Floats());
    const auto high = make_pairs(load_some(x + i, n - i), second, low ? &rest : nullptr);
    hn::StoreU(high, d, to + i);
    if (low) hn::StoreU(rest, d, low + i);
  }
}

/// The pairs of one row: (x[0], x[1]), (x[2], x[3]) ...; (n + 1) / 2 of them.
HWY_INLINE void pair_row(const float* x, int64_t n, Pair* to, Pair* low) {
  const auto one = [&](int64_t at, int64_t count, Pair* out, Pair* out_low) HWY_ATTR {
#if HWY_TARGET == HWY_SCALAR
    for (int64_t i = 0; i < count; i += 2) {
      WordVector rest;
      const Vector first = load_some(x + at + i, 1);
      const Vector second = load_some(x + at + i + 1, count - i - 1);
      out[i / 2] = hn::GetLane(make_pairs(first, second, out_low ? &rest : nullptr));
      if (out_low) out_low[i / 2] = hn::GetLane(rest);
    }
#else
    const Floats d;
    const Words w;
    const Vector a = load_some(x + at, count), b = load_some(x + at + kLanes, count - kLanes);
    const Vector even = hn::ConcatEven(d, b, a), odd = hn::ConcatOdd(d, b, a);
    WordVector rest;
    const auto high = make_pairs(even, odd, out_low ? &rest : nullptr);
    const auto pairs = static_cast<size_t>((count + 1) / 2);
    if (pairs == kLanes) {
      hn::StoreU(high, w, out);
      if (out_low) hn::StoreU(rest, w, out_low);
    } else {
      store_first(high, w, out, pairs);
      if (out_low) store_first(rest, w, out_low, pairs);
    }
#endif
  };
  for (int64_t i = 0; i < n; i += 2 * kLanes)
    one(i, std::min(n - i, 2 * kLanes), to + i / 2, low ? low + i / 2 : nullptr);
}

// 16 x 16 pairs the other way round.
HWY_INLINE void turn(const Pair (&from)[kTile * kTile], Pair* to, int64_t to_row) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < kTile; ++i)
    for (int64_t j = 0; j < kTile; ++j) to[j * to_row + i] = from[i * kTile + j];
#else
  const hn::FixedTag<Pair, 4> d;
  const hn::Repartition<uint64_t, decltype(d)> twos;
  for (int64_t j = 0; j < kTile; j += 4)
    for (int64_t i = 0; i < kTile; i += 4) {
      const Pair* in = from + i * kTile + j;
      const auto r0 = hn::LoadU(d, in), r1 = hn::LoadU(d, in + kTile);
      const auto r2 = hn::LoadU(d, in + 2 * kTile), r3 = hn::LoadU(d, in + 3 * kTile);
      const auto a = hn::BitCast(twos, hn::InterleaveLower(d, r0, r1));
      const auto b = hn::BitCast(twos, hn::InterleaveLower(d, r2, r3));
      const auto c = hn::BitCast(twos, hn::InterleaveUpper(d, r0, r1));
      const auto e = hn::BitCast(twos, hn::InterleaveUpper(d, r2, r3));
      Pair* out = to + j * to_row + i;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(twos, a, b)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(twos, a, b)), d, out + to_row);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(twos, c, e)), d, out + 2 * to_row);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(twos, c, e)), d, out + 3 * to_row);
    }
#endif
}

/// 16 rows of 16 pairs that `fill(i, to, low)` makes, transposed: pair j of row i goes to
/// to[j to_row + i].
template <class F>
HWY_INLINE void turned(const F& fill, Pair* to, Pair* low, int64_t to_row) {
  Pair high_rows[kTile * kTile], low_rows[kTile * kTile];
  for (int64_t i = 0; i < kTile; ++i)
    fill(i, high_rows + i * kTile, low ? low_rows + i * kTile : nullptr);
  turn(high_rows, to, to_row);
  if (low) turn(low_rows, low, to_row);
}

// ---------------------------------------------------------------- factors of products

/// One step of 16 rows of a, [16][16], from rows of numbers: `rows` and `n` numbers of each are
/// there.
HWY_INLINE void pack_a(const float* from, int64_t row, int64_t rows, int64_t n, Pair* to,
                       Pair* low) {
  for (int64_t i = 0; i < kTile; ++i, to += kTile, low += low ? kTile : 0) {
    if (i < rows && n >= kDepth) {
      pair_row(from + i * row, kDepth, to, low);
      continue;
    }
    std::fill_n(to, kTile, Pair{0});
    if (low) std::fill_n(low, kTile, Pair{0});
    if (i < rows) pair_row(from + i * row, n, to, low);
  }
}

/// The same from columns: `from` holds [n, rows] with rows of length `row`.
HWY_INLINE void pack_a_transposed(const float* from, int64_t row, int64_t rows, int64_t n, Pair* to,
                                  Pair* low) {
  turned(
      [&](int64_t j, Pair* out, Pair* out_low) HWY_ATTR {
        const float* x = from + 2 * j * row;
        pair_rows(x, 2 * j + 1 < n ? x + row : nullptr, 2 * j < n ? rows : 0, out, out_low);
      },
      to, low, kTile);
}

/// 16 columns of one step of b, [16][32], from rows [n, columns].
HWY_INLINE void pack_b(const float* from, int64_t row, int64_t columns, int64_t n, Pair* to,
                       Pair* low) {
  for (int64_t j = 0; j < kTile; ++j, to += kBlock, low += low ? kBlock : 0) {
    const float* x = from + 2 * j * row;
    pair_rows(x, 2 * j + 1 < n ? x + row : nullptr, 2 * j < n ? columns : 0, to, low);
  }
}

/// The same from columns: `from` holds [columns, n].
HWY_INLINE void pack_b_transposed(const float* from, int64_t row, int64_t columns, int64_t n,
                                  Pair* to, Pair* low) {
  turned(
      [&](int64_t i, Pair* out, Pair* out_low) HWY_ATTR {
        if (i >= columns || n < kDepth) {
          std::fill_n(out, kTile, Pair{0});
          if (out_low) std::fill_n(out_low, kTile, Pair{0});
        }
        if (i < columns) pair_row(from + i * row, std::min(n, kDepth), out, out_low);
      },
      to, low, kBlock);
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
