// Register tiles of matrix products: a few rows by a few vectors of columns that stay in registers
// while the sum over k runs.
#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(REIN_KERNELS_SIMD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_TILE_INL_H_
#undef REIN_KERNELS_SIMD_TILE_INL_H_
#else
#define REIN_KERNELS_SIMD_TILE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
constexpr int64_t kLanes = hn::MaxLanes(Floats());

/// sum + x y. Left to itself, g++ 12 moves sums between registers: a tenth of the speed.
HWY_INLINE Vector add_product(Vector sum, Vector x, Vector y) {
#if HWY_TARGET <= HWY_AVX2 && HWY_COMPILER_GCC_ACTUAL
  auto raw = sum.raw;
  asm("vfmadd231ps %2, %1, %0" : "+v"(raw) : "v"(x.raw), "v"(y.raw));
  return Vector{raw};
#elif HWY_TARGET == HWY_SCALAR && HWY_COMPILER_GCC_ACTUAL
  // Without vectors of its own g++ 12 makes some, and then reads a row past the last of `a`.
  auto raw = hn::MulAdd(x, y, sum).raw;
  asm("" : "+x"(raw));
  return Vector(raw);
#else
  return hn::MulAdd(x, y, sum);
#endif
}

// One k: a factor of each row in a register, columns one after the other. Every index of `sums` is
// a constant: only then do compilers keep it in registers.
template <int R, int W, size_t... I, size_t... Q>
HWY_INLINE void multiply_once(Vector* HWY_RESTRICT sums, const float* a, int64_t row,
                              const float* b, std::index_sequence<I...>,
                              std::index_sequence<Q...>) {
  const Floats d;
  const Vector rows[R] = {hn::Set(d, a[static_cast<int64_t>(I) * row])...};
  const auto column = [&](auto q) HWY_ATTR {
    const Vector v = hn::LoadU(d, b + static_cast<int64_t>(q) * kLanes);
    ((sums[I * W + q] = add_product(sums[I * W + q], rows[I], v)), ...);
  };
  (column(std::integral_constant<size_t, Q>()), ...);
}

template <size_t... I>
HWY_INLINE void copy_vectors(const Vector* from, Vector* to, std::index_sequence<I...>) {
  ((to[I] = from[I]), ...);
}

/// How many sums each number of a tile gets, which take turns: a multiply-add has to wait four
/// cycles for the one before, in which two others could start each cycle. Two rows or more get the
/// same, so that the bits do not depend on how rows are grouped.
template <int R, int W>
constexpr int kTurns = R > 1   ? (W == 1 ? 2 : 1)
                       : W < 8 ? 8 / W
                               : 1;

template <int R, int W, int S>
HWY_INLINE void multiply_in_turns(Vector (&sums)[R * W], const float* a, int64_t row, int64_t step,
                                  const float* b, int64_t n) {
  constexpr auto all = std::make_index_sequence<R * W>();
  constexpr auto rows = std::make_index_sequence<R>();
  constexpr auto columns = std::make_index_sequence<W>();
  const Floats d;
  Vector s[S][R * W];
  copy_vectors(sums, s[0], all);
  for (int turn = 1; turn < S; ++turn)
    for (int i = 0; i < R * W; ++i) s[turn][i] = hn::Zero(d);
  int64_t k = 0;
  for (; k + S <= n; k += S)
    for (int turn = 0; turn < S; ++turn, a += step, b += W * kLanes)
      multiply_once<R, W>(s[turn], a, row, b, rows, columns);
  for (; k < n; ++k, a += step, b += W * kLanes)
    multiply_once<R, W>(s[0], a, row, b, rows, columns);
  for (int half = S / 2; half > 0; half /= 2)
    for (int turn = 0; turn < half; ++turn)
      for (int i = 0; i < R * W; ++i) s[turn][i] = hn::Add(s[turn][i], s[turn + half][i]);
  copy_vectors(s[0], sums, all);
}

/// sums[r W + q] += a[r row + k step] b[k W lanes + q lanes ...] for k in [0, n). The bits do not
/// depend on R if it is more than 1.
template <int R, int W>
HWY_INLINE void multiply(Vector (&sums)[R * W], const float* a, int64_t row, int64_t step,
                         const float* b, int64_t n) {
  constexpr int turns = kTurns<R, W>;
  if constexpr (turns > 1) return multiply_in_turns<R, W, turns>(sums, a, row, step, b, n);
  constexpr auto all = std::make_index_sequence<R * W>();
  constexpr auto rows = std::make_index_sequence<R>();
  constexpr auto columns = std::make_index_sequence<W>();
  Vector s[R * W];  // a copy, or g++ keeps the tile on the stack
  copy_vectors(sums, s, all);
  int64_t k = 0;
  for (; k + 2 <= n; k += 2) {
    multiply_once<R, W>(s, a, row, b, rows, columns);
    multiply_once<R, W>(s, a + step, row, b + W * kLanes, rows, columns);
    a += 2 * step;
    b += 2 * W * kLanes;
  }
  if (k < n) multiply_once<R, W>(s, a, row, b, rows, columns);
  copy_vectors(s, sums, all);
}

// Rows of a tile: as many as leave registers for the factors.
constexpr int kTileRows = HWY_TARGET <= HWY_AVX3 ? 6 : 3;

/// f.template tile<n>(first), n from 1 to R.
template <int R, class F>
HWY_INLINE void call_tile(int64_t n, int64_t first, const F& f) {
  if constexpr (R > 1)
    if (n < R) return call_tile<R - 1>(n, first, f);
  f.template tile<R>(first);
}

/// Calls `f.template tile<R>(first)` for [from, to) cut into nearly equal blocks of at most
/// kTileRows rows. A block has one row only if there is no other: a single row has more turns than
/// several (`kTurns`), so its bits would depend on how rows are grouped.
template <class F>
HWY_INLINE void for_row_blocks(int64_t from, int64_t to, const F& f) {
  const int64_t n = to - from, blocks = (n + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first = from + n * i / blocks;
    call_tile<kTileRows>(from + n * (i + 1) / blocks - first, first, f);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
