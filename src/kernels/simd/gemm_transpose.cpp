// clang-format off: the order matters
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/gemm_transpose.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <cstdint>

#include "rein/kernels/gemm.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kBlock = 16;  // a cache line

#if HWY_TARGET == HWY_SCALAR  // which has no vectors of four

void transpose_block(int64_t columns, const float* from, int64_t from_stride, float* to,
                     int64_t to_stride) {
  ref::transpose(kBlock, columns, from, from_stride, to, to_stride);
}

#else

// A block of kBlock rows by 4, 8, ... columns. Rows come in whole cache lines, so that lines with
// like addresses, of which the cache holds few, are not needed twice.
HWY_INLINE void transpose_block(int64_t columns, const float* from, int64_t from_stride, float* to,
                                int64_t to_stride) {
  const hn::FixedTag<float, 4> d;
  const hn::Repartition<double, decltype(d)> pairs;
  HWY_ALIGN float lines[kBlock * kBlock];
  for (int64_t i = 0; i < kBlock; ++i)
    for (int64_t j = 0; j < columns; j += 4)
      hn::Store(hn::LoadU(d, from + i * from_stride + j), d, lines + i * kBlock + j);
  for (int64_t j = 0; j < columns; j += 4)
    for (int64_t i = 0; i < kBlock; i += 4) {
      const float* in = lines + i * kBlock + j;
      const auto r0 = hn::Load(d, in), r1 = hn::Load(d, in + kBlock);
      const auto r2 = hn::Load(d, in + 2 * kBlock), r3 = hn::Load(d, in + 3 * kBlock);
      const auto a = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto b = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto c = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto e = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      float* out = to + j * to_stride + i;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, a, b)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, a, b)), d, out + to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, c, e)), d, out + 2 * to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, c, e)), d, out + 3 * to_stride);
    }
}

#endif

void transpose_floats(int64_t rows, int64_t columns, const float* from, int64_t from_stride,
                      float* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; i += kBlock)
    for (int64_t j = 0; j < columns; j += kBlock) {
      const float* in = from + i * from_stride + j;
      float* out = to + j * to_stride + i;
      const int64_t width = std::min(kBlock, columns - j);
      if (i + kBlock <= rows && width % 4 == 0)
        transpose_block(width, in, from_stride, out, to_stride);
      else
        ref::transpose(std::min(kBlock, rows - i), width, in, from_stride, out, to_stride);
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {

namespace {
HWY_EXPORT(transpose_floats);
}  // namespace

template <>
void transpose(int64_t rows, int64_t columns, const float* from, int64_t from_stride, float* to,
               int64_t to_stride) noexcept {
  HWY_DYNAMIC_DISPATCH(transpose_floats)(rows, columns, from, from_stride, to, to_stride);
}

template <>
void transpose(int64_t rows, int64_t columns, const double* from, int64_t from_stride, double* to,
               int64_t to_stride) noexcept {
  ref::transpose(rows, columns, from, from_stride, to, to_stride);
}

}  // namespace rein::kernels
#endif
