// How the vector code of the LSTM lays out its numbers.
//
// Units are taken in panels of one vector. A panel's weights stand together, [k][i | j | f | o], so
// that one register tile holds all four gates of its units and a cell is finished where its sums
// are. The values of the gates, and dz, their gradients, stand the same way,
// [panel][step][row][i | j | f | o]: rows of one product and columns of another, never packed
// again. Units past the last are zeros everywhere, and stay so.
#include <algorithm>
#include <cstring>

#include "rein/kernels/gemm.h"
#include "rein/kernels/lstm.h"

#if defined(REIN_KERNELS_SIMD_LSTM_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_LSTM_PANELS_INL_H_
#undef REIN_KERNELS_SIMD_LSTM_PANELS_INL_H_
#else
#define REIN_KERNELS_SIMD_LSTM_PANELS_INL_H_
#endif

#include "kernels/simd/tail-inl.h"
#include "kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kGates = 4 * kLanes;              // columns of a panel of gates
constexpr int64_t kSecondLevel = int64_t{1} << 20;  // bytes of that cache for what is read again

inline int64_t panels_of(int64_t units) { return (units + kLanes - 1) / kLanes; }

// How many of the units of panel p there are.
inline size_t lanes_in(int64_t p, int64_t units) {
  return static_cast<size_t>(std::min(kLanes, units - p * kLanes));
}

// Panel p of a row of units, the last panel being narrower.
HWY_INLINE Vector load_units(const float* row, int64_t p, int64_t units) {
  const Floats d;
  const size_t n = lanes_in(p, units);
  return n == kLanes ? hn::LoadU(d, row + p * kLanes) : load_first(d, row + p * kLanes, n);
}
HWY_INLINE void store_units(Vector v, float* row, int64_t p, int64_t units) {
  const Floats d;
  const size_t n = lanes_in(p, units);
  if (n == kLanes)
    hn::StoreU(v, d, row + p * kLanes);
  else
    store_first(v, d, row + p * kLanes, n);
}

// To [-limit, limit]; NaN stays.
HWY_INLINE Vector clamp(Vector v, float limit) {
  const Vector hi = hn::Set(Floats(), limit), lo = hn::Neg(hi);
  v = hn::IfThenElse(hn::Gt(v, hi), hi, v);
  return hn::IfThenElse(hn::Lt(v, lo), lo, v);
}

// What is worth waking a thread for, in multiplications: about ten microseconds of them. Moving a
// number takes as long as some dozens.
constexpr int64_t kWorthWaking = int64_t{1} << 20;
constexpr int64_t kMove = 64;

// Runs n tasks of so many multiplications each, as many at a time as are worth it.
template <class F>
void share_tasks(ThreadTeam& team, int64_t n, int64_t multiplications, const F& task) {
  team.run_ranges(n, std::max<int64_t>(1, kWorthWaking / std::max<int64_t>(1, multiplications)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) task(i);
                  });
}

// Calls f(panel, row, packed) for each vector of weights: what stands in a quarter row of the
// kernel, for one gate, stands from `packed` on in [panel][k][gates]. A few rows at a time, of
// which panels then take whole cache lines.
template <class F>
HWY_INLINE void for_packed(ThreadTeam& team, const LstmSizes& s, const F& f) {
  constexpr int64_t kRows = 16;
  const int64_t k_size = s.inputs + s.units, blocks = (k_size + kRows - 1) / kRows;
  share_tasks(team, blocks, kRows * 4 * s.units * kMove, [&](int64_t block) HWY_ATTR {
    const int64_t first = 4 * block * kRows, last = std::min(4 * k_size, first + 4 * kRows);
    for (int64_t p = 0; p < panels_of(s.units); ++p)
      for (int64_t row = first; row < last; ++row) f(p, row, p * k_size * kGates + row * kLanes);
  });
}

// The gradients of the weights, back in the layout of the kernel.
inline void unpack_weights(ThreadTeam& team, const LstmSizes& s, const float* sums,
                           float* dkernel) {
  for_packed(team, s, [&](int64_t p, int64_t row, int64_t packed) HWY_ATTR {
    store_units(hn::LoadU(Floats(), sums + packed), dkernel + row * s.units, p, s.units);
  });
}

// The kernel; and the bias, with the forget bias added.
inline void pack_weights(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& f,
                         float* weights, float* biases) {
  const Floats d;
  for_packed(team, s, [&](int64_t p, int64_t row, int64_t packed) HWY_ATTR {
    hn::StoreU(load_units(f.kernel + row * s.units, p, s.units), d, weights + packed);
  });
  for (int64_t p = 0; p < panels_of(s.units); ++p)
    for (int64_t g = 0; g < 4; ++g) {
      const Vector added = hn::Set(d, g == 2 ? f.forget_bias : 0.0f);
      const Vector bias = hn::Add(load_units(f.bias + g * s.units, p, s.units), added);
      hn::StoreU(hn::IfThenElseZero(hn::FirstN(d, lanes_in(p, s.units)), bias), d,
                 biases + (4 * p + g) * kLanes);
    }
}

// Columns are taken in blocks of four vectors, the last of one, two or four.
inline int64_t blocks_of(int64_t width) { return (width + kGates - 1) / kGates; }
inline int64_t vectors_of(int64_t block, int64_t width) {
  const int64_t left = panels_of(width) - 4 * block;
  return left < 3 ? left : 4;
}

// The kernel's rows [0, width) from `kernel` on, transposed: [block of rows][panel][gates][rows].
// What dz has to be multiplied with for the gradient of what those rows are multiplied with.
inline void pack_transposed(ThreadTeam& team, const LstmSizes& s, const float* kernel,
                            int64_t width, float* packed) {
  const int64_t panels = panels_of(s.units);
  share_tasks(team, blocks_of(width) * panels, kGates * kGates * kMove, [&](int64_t task) {
    const int64_t block = task / panels, p = task % panels;
    const auto units = static_cast<int64_t>(lanes_in(p, s.units));
    const int64_t columns = vectors_of(block, width) * kLanes;
    const int64_t rows = std::min(columns, width - block * kGates);
    float* to = packed + (block * panels * kGates + p * columns) * kGates;
    if (units < kLanes || rows < columns) std::fill(to, to + kGates * columns, 0.0f);
    for (int64_t g = 0; g < 4; ++g)
      transpose(rows, units, kernel + (4 * block * kGates + g) * s.units + p * kLanes, 4 * s.units,
                to + g * kLanes * columns, columns);
  });
}

// f(i) for [first, last), every second step in reverse: it begins with the weights that the step
// before it used last, which the second-level cache still holds.
template <class F>
HWY_INLINE void to_and_fro(int64_t t, int64_t first, int64_t last, const F& f) {
  for (int64_t i = first; i < last; ++i) f(t % 2 == 0 ? i : first + last - 1 - i);
}

// How many of `wide` panels of one step are worth handing to a thread: a few microseconds of work.
inline int64_t panels_a_task(const LstmSizes& s, int64_t wide) {
  constexpr int64_t kWorthSharing = int64_t{1} << 17;  // multiplications
  const int64_t one = s.batch * (s.inputs + s.units) * wide * kGates;
  return std::max<int64_t>(1, kWorthSharing / std::max<int64_t>(1, one));
}

// f(i) for n groups of `wide` panels of step t: each thread has the same run of them at every step,
// to and fro, and finds their weights in its cache.
template <class F>
void share_panels(ThreadTeam& team, const LstmSizes& s, int64_t t, int64_t n, int64_t wide,
                  const F& f) {
  const int64_t shares = std::clamp<int64_t>(n / panels_a_task(s, wide), 1, team.size());
  team.run(shares,
           [&](int64_t i) HWY_ATTR { to_and_fro(t, n * i / shares, n * (i + 1) / shares, f); });
}

// Rows [from, to) of one block of columns, in tiles as wide as the block.
template <template <int> class Tile, class... Args>
void for_block(int64_t from, int64_t to, int64_t block, int64_t width, Args&&... args) {
  switch (vectors_of(block, width)) {
    case 1:
      return for_row_blocks(from, to, Tile<1>{args...});
    case 2:
      return for_row_blocks(from, to, Tile<2>{args...});
    default:
      return for_row_blocks(from, to, Tile<4>{args...});
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
