// AVX512-BF16: processors of AMD from Zen 4 on, and Intel's from Cooper Lake on.
#include <immintrin.h>

#include <algorithm>

#include "kernels/tile_product.h"

namespace rein::kernels {
namespace {

// Rows that are summed at once: a product has to wait up to eight cycles for the one before it, and
// two sums a row keep the processor busy meanwhile. They divide a tile: none lie on both sides of
// `a_lower`.
constexpr int kRows = 8;
static_assert(kTile % kRows == 0);

// R rows from `row` on. What is read of a, b and c is as of the tiles of AMX.
template <int R, bool split>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void run(const TileProduct& p,
                                                                         int64_t row) {
  const Pair* even = p.a + row / kTile * p.a_lower + row % kTile * p.a_row;
  float* c = p.c + row * p.c_row;
  __m512 left[R], right[R];
  for (int r = 0; r < R; ++r) {
    left[r] = p.add ? _mm512_loadu_ps(c + r * p.c_row) : _mm512_setzero_ps();
    right[r] = p.add ? _mm512_loadu_ps(c + r * p.c_row + kTile) : _mm512_setzero_ps();
  }
  for (int64_t step = 0; step < p.steps; ++step) {
    const Pair* a = step % 2 == 0 ? even : even + p.a_step;
    if (step % 2 == 1) even += p.a_two;
    for (int part = 0; part < (split ? 3 : 1); ++part) {
      const Pair* x = split && part == 0 ? a + p.a_low : a;
      const Pair* y = p.b + step * kStepPairs + (split && part == 2 ? p.b_low : 0);
      for (int64_t j = 0; j < kTile; ++j, ++x, y += kBlock) {
        const auto y_left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(y));
        const auto y_right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(y + kTile));
        for (int r = 0; r < R; ++r) {
          const auto pair = static_cast<int>(x[r * p.a_row]);
          const auto x_row = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
          left[r] = _mm512_dpbf16_ps(left[r], x_row, y_left);
          right[r] = _mm512_dpbf16_ps(right[r], x_row, y_right);
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(c + r * p.c_row, left[r]);
    _mm512_storeu_ps(c + r * p.c_row + kTile, right[r]);
  }
}

template <bool split, int R = kRows>
void run_rows(const TileProduct& p, int64_t row, int64_t rows) {
  if constexpr (R > 1)
    if (rows < R) return run_rows<split, R - 1>(p, row, rows);
  run<R, split>(p, row);
}

}  // namespace

void TileUnit::multiply_pairs(const TileProduct& p) {
  for (int64_t row = 0; row < p.rows; row += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, p.rows - row);
    p.a_low != 0 ? run_rows<true>(p, row, rows) : run_rows<false>(p, row, rows);
  }
}

}  // namespace rein::kernels
