// Products of narrow inputs: both factors are packed once, then multiplied block by block.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/narrow_gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd/bf16-inl.h"
#include "rein/kernels/narrow.h"

#ifndef REIN_KERNELS_NARROW_PACKED
#define REIN_KERNELS_NARROW_PACKED
namespace rein::kernels {
namespace {

// The packed factors: a [blocks of 16 rows][steps][16][16], b [blocks of 32
// columns][steps][16][32], each followed by its low parts.
struct PackedSizes {
  int64_t m, n, k;
  int64_t a_blocks() const { return pieces_of(m, kTile); }
  int64_t b_blocks() const { return pieces_of(n, kBlock); }
  int64_t steps() const { return pieces_of(k, kDepth); }
  int64_t a_pairs() const { return a_blocks() * steps() * kTile * kTile; }
  int64_t b_pairs() const { return b_blocks() * steps() * kStepPairs; }
};

struct Factor {
  const float* from;
  int64_t row;
  bool transposed;
};

}  // namespace
}  // namespace rein::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

void pack_rows(const Factor& a, const PackedSizes& s, int64_t block, Pair* to, Pair* low) {
  const int64_t first = block * kTile, rows = std::min(kTile, s.m - first);
  for (int64_t step = 0; step < s.steps(); ++step) {
    const int64_t at = step * kDepth, n = std::min(kDepth, s.k - at);
    const int64_t place = (block * s.steps() + step) * kTile * kTile;
    Pair* rest = low ? low + place : nullptr;
    if (a.transposed)
      pack_a_transposed(a.from + at * a.row + first, a.row, rows, n, to + place, rest);
    else
      pack_a(a.from + first * a.row + at, a.row, rows, n, to + place, rest);
  }
}

void pack_columns(const Factor& b, const PackedSizes& s, int64_t block, Pair* to, Pair* low) {
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t first = block * kBlock + half * kTile;
    const int64_t columns = std::clamp<int64_t>(s.n - first, 0, kTile);
    for (int64_t step = 0; step < s.steps(); ++step) {
      const int64_t at = step * kDepth, n = std::min(kDepth, s.k - at);
      const int64_t place = (block * s.steps() + step) * kStepPairs + half * kTile;
      Pair* rest = low ? low + place : nullptr;
      if (b.transposed)
        pack_b_transposed(b.from + first * b.row + at, b.row, columns, n, to + place, rest);
      else
        pack_b(b.from + at * b.row + first, b.row, columns, n, to + place, rest);
    }
  }
}

// Steps after which a task turns to its next block of c: what it reads then stays in the
// second-level cache.
constexpr int64_t kChunk = 32;

// Blocks of c that one task computes, along each side: eight, or fewer where c is small and k long,
// so that there are tasks for many threads, each worth handing over.
int64_t task_blocks(const PackedSizes& s) {
  constexpr int64_t kMost = 8, kTasks = 8, kWorthSharing = 64;  // blocks times steps
  const int64_t rows = pieces_of(s.m, kBlock), columns = s.b_blocks();
  int64_t side = kMost;
  while (side > 1 && side * side * s.steps() > 4 * kWorthSharing &&
         pieces_of(rows, side) * pieces_of(columns, side) < kTasks)
    side /= 2;
  return side;
}

struct Multiplication {
  const PackedSizes& s;
  const Pair *a, *b;
  bool split;
  float* c;
  int64_t ldc;

  TileProduct product(int64_t row_block, int64_t column_block, int64_t first, int64_t steps) const {
    TileProduct p;
    p.a = a + (2 * row_block * s.steps() + first) * kTile * kTile;
    p.a_row = kTile;
    p.a_lower = s.steps() * kTile * kTile;
    p.a_step = kTile * kTile;
    p.a_two = 2 * p.a_step;
    p.a_low = split ? s.a_pairs() : 0;
    p.b = b + (column_block * s.steps() + first) * kStepPairs;
    p.b_low = s.b_pairs();
    p.steps = steps;
    p.rows = static_cast<int>(std::min(kBlock, s.m - row_block * kBlock));
    return p;
  }

  // A column block that is narrower, through memory of its own.
  void multiply_last(TileUnit& unit, int64_t row_block, int64_t column_block) const {
    alignas(64) float sums[kBlock * kBlock];
    TileProduct p = product(row_block, column_block, 0, s.steps());
    p.c = sums;
    unit.multiply(p);
    const int64_t columns = s.n - column_block * kBlock;
    for (int64_t row = 0; row < p.rows; ++row)
      std::copy_n(sums + row * kBlock, columns,
                  c + (row_block * kBlock + row) * ldc + column_block * kBlock);
  }

  void multiply(TileUnit& unit, int64_t row_from, int64_t row_to, int64_t column_from,
                int64_t column_to) const {
    const int64_t whole = std::min(column_to, s.n / kBlock);
    const int64_t chunks = std::max<int64_t>(1, pieces_of(s.steps(), kChunk));
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t column = column_from; column < whole; ++column)
        for (int64_t row = row_from; row < row_to; ++row) {
          const int64_t first = chunk * kChunk;
          TileProduct p = product(row, column, first, std::min(kChunk, s.steps() - first));
          p.c = c + row * kBlock * ldc + column * kBlock;
          p.c_row = ldc;
          p.add = chunk > 0;
          unit.multiply(p);
        }
    for (int64_t column = whole; column < column_to; ++column)
      for (int64_t row = row_from; row < row_to; ++row) multiply_last(unit, row, column);
  }
};

}  // namespace

void Gemm(ThreadTeam& team, const ProductOptions& products, const PackedSizes& s, const Factor& a,
          const Factor& b, float* c, int64_t ldc, Pair* scratch) {
  const bool split = products.precision == Precision::bf16x3;
  Pair *a_packed = scratch, *a_low = split ? a_packed + s.a_pairs() : nullptr;
  Pair* b_packed = a_packed + s.a_pairs() * (split ? 2 : 1);
  Pair* b_low = split ? b_packed + s.b_pairs() : nullptr;
  team.run(s.b_blocks() + s.a_blocks(), [&](int64_t i) HWY_ATTR {
    if (i < s.b_blocks()) return pack_columns(b, s, i, b_packed, b_low);
    pack_rows(a, s, i - s.b_blocks(), a_packed, a_low);
  });
  const int64_t rows = pieces_of(s.m, kBlock), columns = s.b_blocks();
  const int64_t side = task_blocks(s), row_tasks = pieces_of(rows, side);
  const Multiplication all{s, a_packed, b_packed, split, c, ldc};
  team.run(row_tasks * pieces_of(columns, side), [&](int64_t task) HWY_ATTR {
    TileUnit unit(products);
    const int64_t row = task % row_tasks * side, column = task / row_tasks * side;
    all.multiply(unit, row, std::min(rows, row + side), column, std::min(columns, column + side));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(Gemm);
}  // namespace

void narrow::gemm(ThreadTeam& team, const ProductOptions& products, Trans ta, Trans tb, int64_t m,
                  int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                  float* c, int64_t ldc, std::byte* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(Gemm)
  (team, products, PackedSizes{m, n, k}, {a, lda, ta == Trans::yes}, {b, ldb, tb == Trans::yes}, c,
   ldc, reinterpret_cast<Pair*>(scratch));
}

size_t narrow::gemm_scratch_bytes(const ProductOptions& products, int64_t m, int64_t n, int64_t k) {
  const PackedSizes s{m, n, k};
  const int64_t parts = products.precision == Precision::bf16x3 ? 2 : 1;
  return static_cast<size_t>(parts * (s.a_pairs() + s.b_pairs())) * sizeof(Pair);
}

}  // namespace rein::kernels
#endif
