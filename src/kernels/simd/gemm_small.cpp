// Products too small for a library: it would spend more on the call, and milliseconds on its first.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/gemm_small.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/gemm_small.h"
#include "kernels/simd/tail-inl.h"
#include "kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kDepth = 256;  // of k at a time: what is packed stays in the first-level cache

// Rows [0, depth) and columns [0, width) of op(b), zeros up to `columns` of them.
void pack(Trans tb, const float* b, int64_t ldb, int64_t depth, int64_t width, int64_t columns,
          float* to) {
  for (int64_t k = 0; k < depth; ++k, to += columns) {
    if (tb == Trans::no)
      std::copy_n(b + k * ldb, width, to);
    else
      for (int64_t j = 0; j < width; ++j) to[j] = b[j * ldb + k];
    std::fill(to + width, to + columns, 0.0f);
  }
}

// R rows of c by W vectors, of which `width` columns exist.
template <int W>
struct SmallTile {
  const float* a;
  int64_t a_row, a_step;
  const float* packed;
  int64_t depth;
  float beta;
  float* c;
  int64_t ldc, width;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const Floats d;
    Vector sums[R * W];
    for (int i = 0; i < R * W; ++i)
      sums[i] = beta == 0 ? hn::Zero(d) : hn::Mul(hn::Set(d, beta), load(row + i / W, i % W));
    multiply<R, W>(sums, a + row * a_row, a_row, a_step, packed, depth);
    for (int i = 0; i < R * W; ++i) store(sums[i], row + i / W, i % W);
  }

  // How many columns vector q has.
  size_t lanes_in(int q) const {
    return static_cast<size_t>(std::clamp<int64_t>(width - q * kLanes, 0, kLanes));
  }
  HWY_INLINE Vector load(int64_t row, int q) const {
    const Floats d;
    const float* from = c + row * ldc + q * kLanes;
    return lanes_in(q) == kLanes ? hn::LoadU(d, from) : load_first(d, from, lanes_in(q));
  }
  HWY_INLINE void store(Vector v, int64_t row, int q) const {
    const Floats d;
    float* to = c + row * ldc + q * kLanes;
    if (lanes_in(q) == kLanes)
      hn::StoreU(v, d, to);
    else
      store_first(v, d, to, lanes_in(q));
  }
};

template <int W>
void multiply_columns(Trans ta, Trans tb, int64_t m, int64_t width, int64_t k, const float* a,
                      int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  HWY_ALIGN float packed[kDepth * W * kLanes];
  const int64_t a_row = ta == Trans::no ? lda : 1, a_step = ta == Trans::no ? 1 : lda;
  for (int64_t from = 0; from < k; from += kDepth) {
    const int64_t depth = std::min(kDepth, k - from);
    pack(tb, b + from * (tb == Trans::no ? ldb : 1), ldb, depth, width, W * kLanes, packed);
    for_row_blocks(0, m,
                   SmallTile<W>{a + from * a_step, a_row, a_step, packed, depth,
                                from == 0 ? beta : 1.0f, c, ldc, width});
  }
}

void SmallGemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  for (int64_t j = 0; j < n;) {
    const float* columns = b + (tb == Trans::no ? j : j * ldb);
    const auto take = [&](auto multiply_some, int64_t most) {
      const int64_t width = std::min(n - j, most);
      multiply_some(ta, tb, m, width, k, a, lda, columns, ldb, beta, c + j, ldc);
      j += width;
    };
    if (n - j > 2 * kLanes)
      take(multiply_columns<4>, 4 * kLanes);
    else if (n - j > kLanes)
      take(multiply_columns<2>, 2 * kLanes);
    else
      take(multiply_columns<1>, kLanes);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(SmallGemm);
}  // namespace

void simd::small_gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a,
                      int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                      int64_t ldc) noexcept {
  HWY_DYNAMIC_DISPATCH(SmallGemm)(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace rein::kernels
#endif
