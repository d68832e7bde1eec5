// Register tiles of matrix products: a few rows by a few vectors of columns that stay in registers
// while the sum over k runs.
#include <hwy/highway.h>

#include <cstdint>
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
#if HWY_TARGET == HWY_AVX3 && HWY_COMPILER_GCC_ACTUAL
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

// One k. Every index of `sums` is a constant: only then do compilers keep it in registers.
template <int W, size_t... I, size_t... Q>
HWY_INLINE void multiply_once(Vector* HWY_RESTRICT sums, const float* a, int64_t row,
                              const float* b, std::index_sequence<I...>,
                              std::index_sequence<Q...>) {
  const Floats d;
  const Vector columns[W] = {hn::LoadU(d, b + static_cast<int64_t>(Q) * kLanes)...};
  ((sums[I] =
        add_product(sums[I], hn::Set(d, a[static_cast<int64_t>(I / W) * row]), columns[I % W])),
   ...);
}

template <size_t... I>
HWY_INLINE void copy_vectors(const Vector* from, Vector* to, std::index_sequence<I...>) {
  ((to[I] = from[I]), ...);
}

/// sums[r W + q] += a[r row + k step] b[k W lanes + q lanes ...] for k in [0, n), one after the
/// other: the bits do not depend on R.
template <int R, int W>
HWY_INLINE void multiply(Vector (&sums)[R * W], const float* a, int64_t row, int64_t step,
                         const float* b, int64_t n) {
  constexpr auto all = std::make_index_sequence<R * W>();
  constexpr auto columns = std::make_index_sequence<W>();
  Vector s[R * W];  // a copy, or g++ keeps the tile on the stack
  copy_vectors(sums, s, all);
  int64_t k = 0;
  for (; k + 2 <= n; k += 2) {
    multiply_once<W>(s, a, row, b, all, columns);
    multiply_once<W>(s, a + step, row, b + W * kLanes, all, columns);
    a += 2 * step;
    b += 2 * W * kLanes;
  }
  if (k < n) multiply_once<W>(s, a, row, b, all, columns);
  copy_vectors(s, sums, all);
}

// Rows of a tile: as many as leave registers for the factors.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 ? 6 : 3;

/// Calls `f.template tile<R>(first, args...)` for [from, to) cut into nearly equal blocks of at
/// most kTileRows rows.
template <class F>
HWY_INLINE void for_row_blocks(int64_t from, int64_t to, const F& f) {
  const int64_t n = to - from, blocks = (n + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first = from + n * i / blocks;
    switch (from + n * (i + 1) / blocks - first) {
      case 1:
        f.template tile<1>(first);
        break;
      case 2:
        f.template tile<2>(first);
        break;
      case 3:
        f.template tile<3>(first);
        break;
      case 4:
        f.template tile<4>(first);
        break;
      case 5:
        f.template tile<5>(first);
        break;
      default:
        f.template tile<6>(first);
        break;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
