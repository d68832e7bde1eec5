// How the LSTM with narrow products lays out its numbers. Units are taken in panels of 16, whatever
// the vectors. Gates stand as [panel][step][row][i | j | f | o], c as [panel][step][row][16]. A
// panel of weights is two blocks of b, of the columns i | j and f | o.
//
// dz takes the place of the gates as pairs (i, j) and (f, o) of each unit, the low ones after the
// high: [panel][step][row][high ij | high fo | low ij | low fo]. Those are rows of a for the
// gradients of h and x; for those of the weights they are paired anew, two rows at a time.
#include <algorithm>

#include "kernels/narrow_sizes.h"

#if defined(REIN_KERNELS_SIMD_NARROW_LSTM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_NARROW_LSTM_INL_H_
#undef REIN_KERNELS_SIMD_NARROW_LSTM_INL_H_
#else
#define REIN_KERNELS_SIMD_NARROW_LSTM_INL_H_
#endif

#include "kernels/simd/bf16-inl.h"
#include "kernels/simd/lstm_panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

HWY_INLINE void store_some(Vector v, float* to, int64_t n) {
  if (n >= kLanes)
    hn::StoreU(v, Floats(), to);
  else if (n > 0)
    store_first(v, Floats(), to, static_cast<size_t>(n));
}

// Groups of rows that go through all steps on their own, or, where there are too few rows or too
// many weights for that, columns of each step.
inline bool shares_columns(const ThreadTeam& team, const NarrowSizes& n) {
  if (team.size() == 1 || n.panels() < 2 * team.size()) return false;
  const int64_t bytes = n.weights() * n.parts() * int64_t{sizeof(Pair)};
  return n.s.batch < kTile * team.size() ||
         (bytes > kSecondLevel && n.s.batch < kBlock * team.size());
}

// Nearly equal blocks of at most 32 rows; f(first, count).
template <class F>
HWY_INLINE void for_blocks(int64_t from, int64_t to, const F& f) {
  const int64_t blocks = pieces_of(to - from, kBlock);
  if (blocks == 0) return;
  const int64_t size = pieces_of(to - from, blocks);
  for (int64_t first = from; first < to; first += size) f(first, std::min(size, to - first));
}

// f(unit, from, to) for groups of rows, one on each thread, that go through all steps alone.
template <class F>
void for_row_groups_of(ThreadTeam& team, const ProductOptions& products, int64_t rows, const F& f) {
  const int64_t groups = std::clamp<int64_t>(rows / kTile, 1, team.size());
  team.run(groups, [&](int64_t i) HWY_ATTR {
    TileUnit unit(products);
    const auto edge = [&](int64_t j) {
      return j == groups ? rows : (rows * j / groups + kBiasRows / 2) / kBiasRows * kBiasRows;
    };
    f(unit, edge(i), edge(i + 1));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
