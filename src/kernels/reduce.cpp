#include "rein/kernels/reduce.h"

#include <algorithm>

#include "kernels/reduce_rows.h"

namespace rein::kernels {
namespace {

constexpr int64_t kTile = 32768;   // elements that one task adds up
constexpr int64_t kColumns = 512;  // as many running results as stay in the first-level cache
constexpr int64_t kNarrow = 64;    // fewer columns than this: rows are put side by side first
constexpr int64_t kFolded = 128;   // to about so many

// How [outer, n, inner] is cut: by its sizes alone, so that the order of additions is fixed. Each
// tile gives one row of results; they are reduced in turn in the same way.
struct Cut {
  int64_t rows = 0, tiles = 0;      // rows of a tile, tiles of n
  int64_t columns = 0, chunks = 0;  // columns of a tile, tiles of inner

  Cut(int64_t n, int64_t inner) {
    columns = std::min(inner, kColumns);
    chunks = columns > 0 ? (inner + columns - 1) / columns : 0;
    rows = std::max<int64_t>(64, kTile / std::max<int64_t>(1, columns));
    tiles = (n + rows - 1) / rows;
  }
};

// Adds the k rows of `acc` [k, inner] into the first one, halving: few roundings, long vectors.
template <class Op, class T>
void fold_rows(T* acc, int64_t k, int64_t inner) {
  while (k > 1) {
    const int64_t low = (k + 1) / 2;
    const T* high = acc + low * inner;
    for (int64_t i = 0; i < (k - low) * inner; ++i) acc[i] = Op::join(acc[i], high[i]);
    k = low;
  }
}

// One row of results out of rows that are narrow and lie one after the other.
template <class Op, class T>
void reduce_narrow(const T* x, int64_t rows, int64_t inner, T* y) {
  T acc[kFolded + kNarrow];
  const int64_t k = (kFolded + inner - 1) / inner, width = k * inner;
  if (rows < 2 * k) {
    const int64_t first = std::min(rows, k);
    std::copy_n(x, first * inner, acc);
    for (int64_t i = 0; i < (rows - first) * inner; ++i)
      acc[i] = Op::join(acc[i], x[first * inner + i]);
    fold_rows<Op>(acc, first, inner);
  } else {
    const int64_t wide = rows / k;
    Op::rows(x, wide, width, width, acc);
    for (int64_t i = 0; i < (rows - wide * k) * inner; ++i)
      acc[i] = Op::join(acc[i], x[wide * width + i]);
    fold_rows<Op>(acc, k, inner);
  }
  std::copy_n(acc, inner, y);
}

struct Quotient {
  int64_t whole, rest;
};
Quotient divide(int64_t a, int64_t b) {  // by 1 most of the time, when it costs nothing
  if (b == 1) return {a, 0};
  return {a / b, a % b};
}

// n > 0. Tiles of one column of results follow one another in `scratch` [outer, tiles, inner].
template <class Op, class T>
void reduce_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T* scratch,
                 ThreadTeam& team) {
  const Cut cut(n, inner);
  T* const results = cut.tiles > 1 ? scratch : y;
  const int64_t grain =
      std::max<int64_t>(1, kTile / (std::min(cut.rows, n) * std::max<int64_t>(1, cut.columns)));
  team.run_ranges(outer * cut.tiles * cut.chunks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const auto [strip, chunk] = divide(unit, cut.chunks);
      const auto [o, tile] = divide(strip, cut.tiles);
      const int64_t first = tile * cut.rows, rows = std::min(cut.rows, n - first);
      const int64_t column = chunk * cut.columns, columns = std::min(cut.columns, inner - column);
      const T* from = x + (o * n + first) * inner + column;
      T* to = results + strip * inner + column;
      if (inner < kNarrow)
        reduce_narrow<Op>(from, rows, inner, to);
      else
        Op::rows(from, rows, inner, columns, to);
    }
  });
  if (cut.tiles > 1)
    reduce_axis<Op>(results, y, outer, cut.tiles, inner, scratch + outer * cut.tiles * inner, team);
}

struct Sum {
  template <class T>
  static T join(T a, T b) {
    return a + b;
  }
  template <class T>
  static void rows(const T* x, int64_t rows, int64_t stride, int64_t n, T* y) {
    sum_rows(x, rows, stride, n, y);
  }
};

struct Max {
  template <class T>
  static T join(T a, T b) {
    const T m = b > a ? b : a;  // a NaN in `a` stays
    return b != b ? b : m;
  }
  template <class T>
  static void rows(const T* x, int64_t rows, int64_t stride, int64_t n, T* y) {
    max_rows(x, rows, stride, n, y);
  }
};

}  // namespace

int64_t reduce_axis_scratch(int64_t outer, int64_t n, int64_t inner) noexcept {
  int64_t size = 0;
  for (Cut cut(n, inner); cut.tiles > 1; cut = Cut(cut.tiles, inner))
    size += outer * cut.tiles * inner;
  return size;
}

template <class T>
void sum_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T* scratch,
              ThreadTeam& team) noexcept {
  if (n == 0)
    std::fill_n(y, outer * inner, T{0});
  else
    reduce_axis<Sum>(x, y, outer, n, inner, scratch, team);
}
template void sum_axis(const float*, float*, int64_t, int64_t, int64_t, float*,
                       ThreadTeam&) noexcept;
template void sum_axis(const double*, double*, int64_t, int64_t, int64_t, double*,
                       ThreadTeam&) noexcept;

template <class T>
void max_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T* scratch,
              ThreadTeam& team) noexcept {
  reduce_axis<Max>(x, y, outer, n, inner, scratch, team);
}
template void max_axis(const float*, float*, int64_t, int64_t, int64_t, float*,
                       ThreadTeam&) noexcept;
template void max_axis(const double*, double*, int64_t, int64_t, int64_t, double*,
                       ThreadTeam&) noexcept;

}  // namespace rein::kernels
