// The LSTM with narrow products. Units are taken in panels of 16, whatever the vectors. Gates stand
// as [panel][step][row][i | j | f | o], c as [panel][step][row][16]. A panel of weights is two
// blocks of b, of the columns i | j and f | o.
//
// dz takes the place of the gates as pairs (i, j) and (f, o) of each unit, the low ones after the
// high: [panel][step][row][high ij | high fo | low ij | low fo]. Those are rows of a for the
// gradients of h and x; for those of the weights they are paired anew, two rows at a time.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/narrow_lstm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>

#include "kernels/simd/bf16-inl.h"
#include "kernels/simd/lstm_backward-inl.h"
#include "rein/kernels/narrow.h"

#ifndef REIN_KERNELS_NARROW_LSTM_SIZES
#define REIN_KERNELS_NARROW_LSTM_SIZES
namespace rein::kernels {
namespace {

constexpr int64_t kBiasRows = 8;       // of the batch, that one thread takes
constexpr int64_t kWidth = 4 * kTile;  // of a row of a panel: gates, or pairs of dz

int64_t up_to(int64_t n, int64_t size) { return (n + size - 1) / size; }

struct NarrowSizes {
  LstmSizes s;
  bool split;

  int64_t parts() const { return split ? 2 : 1; }
  int64_t rows() const { return s.steps * s.batch; }
  int64_t panels() const { return up_to(s.units, kTile); }
  // Steps of products along the inputs, the units, and all gates.
  int64_t x_steps() const { return up_to(s.inputs, kDepth); }
  int64_t h_steps() const { return up_to(s.units, kDepth); }
  int64_t steps() const { return x_steps() + h_steps(); }
  int64_t dz_steps() const { return 2 * panels(); }
  // Pairs of what a pass packs: the weights, [x, h] of every step, and a transposed part of the
  // weights that `width` rows of the kernel make.
  int64_t weights() const { return dz_steps() * steps() * kStepPairs; }
  int64_t inputs() const { return rows() * steps() * kTile; }
  int64_t transposed(int64_t width) const { return up_to(width, kBlock) * dz_steps() * kStepPairs; }
  // [x, h] transposed: blocks of 16 of x, then of h.
  int64_t x_blocks() const { return up_to(s.inputs, kTile); }
  int64_t k_blocks() const { return x_blocks() + up_to(s.units, kTile); }
  int64_t bias_groups() const { return up_to(s.batch, kBiasRows); }
  int64_t row_steps() const { return up_to(rows(), kDepth); }
  int64_t columns() const { return k_blocks() * row_steps() * kTile * kTile; }
};

}  // namespace
}  // namespace rein::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

int64_t units_in(const NarrowSizes& n, int64_t p) { return std::min(kTile, n.s.units - p * kTile); }

HWY_INLINE void store_some(Vector v, float* to, int64_t n) {
  if (n >= kLanes)
    hn::StoreU(v, Floats(), to);
  else if (n > 0)
    store_first(v, Floats(), to, static_cast<size_t>(n));
}

// Groups of rows that go through all steps on their own, or, where there are too few rows or too
// many weights for that, columns of each step.
bool shares_columns(const ThreadTeam& team, const NarrowSizes& n) {
  constexpr int64_t kSecondLevel = int64_t{1} << 20;
  if (team.size() == 1 || n.panels() < 2 * team.size()) return false;
  const int64_t bytes = n.weights() * n.parts() * int64_t{sizeof(Pair)};
  return n.s.batch < kTile * team.size() ||
         (bytes > kSecondLevel && n.s.batch < kBlock * team.size());
}

// Nearly equal blocks of at most 32 rows; f(first, count).
template <class F>
HWY_INLINE void for_blocks(int64_t from, int64_t to, const F& f) {
  const int64_t blocks = up_to(to - from, kBlock);
  if (blocks == 0) return;
  const int64_t size = up_to(to - from, blocks);
  for (int64_t first = from; first < to; first += size) f(first, std::min(size, to - first));
}

// ---------------------------------------------------------------- forward

struct NarrowForward {
  const NarrowSizes& n;
  const LstmForward<float>& f;
  const Pair* weights;
  Pair* inputs;  // [steps][batch][x | h before it]
  const float* biases;

  // Bias, with the forget bias, of [panel][i | j | f | o].
  static void pack_biases(const NarrowSizes& n, const LstmForward<float>& f, float* to) {
    std::fill_n(to, n.panels() * kWidth, 0.0f);
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t g = 0; g < 4; ++g)
        for (int64_t u = 0; u < units_in(n, p); ++u)
          to[(4 * p + g) * kTile + u] =
              f.bias[g * n.s.units + p * kTile + u] + (g == 2 ? f.forget_bias : 0.0f);
  }

  static void pack_weights(const NarrowSizes& n, const float* kernel, int64_t p, Pair* to,
                           Pair* low) {
    const int64_t row = 4 * n.s.units;
    for (int64_t g = 0; g < 4; ++g)
      for (int64_t step = 0; step < n.steps(); ++step) {
        const bool of_x = step < n.x_steps();
        const int64_t at = (of_x ? step : step - n.x_steps()) * kDepth;
        const int64_t k = (of_x ? n.s.inputs : n.s.units) - at;
        const float* from = kernel + (of_x ? at : n.s.inputs + at) * row + g * n.s.units;
        const int64_t place = ((2 * p + g / 2) * n.steps() + step) * kStepPairs + g % 2 * kTile;
        pack_b(from + p * kTile, row, units_in(n, p), k, to + place, low ? low + place : nullptr);
      }
  }

  int64_t input_row() const { return n.steps() * kTile; }
  Pair* input_at(int64_t t, int64_t row) const {
    return inputs + (t * n.s.batch + row) * input_row();
  }

  // x of all steps, h before the first, and zeros past the last of both.
  void pack_inputs(int64_t t) const {
    for (int64_t row = 0; row < n.s.batch; ++row) {
      Pair *to = input_at(t, row), *low = n.split ? to + n.inputs() : nullptr;
      std::fill_n(to, input_row(), Pair{0});
      if (low) std::fill_n(low, input_row(), Pair{0});
      pair_row(f.x + (t * n.s.batch + row) * n.s.inputs, n.s.inputs, to, low);
      if (t == 0) keep_h(f.h0 + row * n.s.units, 0, row, 0, n.s.units);
    }
  }

  // Units [from, to) of h, for step t; `from` is even.
  HWY_INLINE void keep_h(const float* h, int64_t t, int64_t row, int64_t from, int64_t to) const {
    Pair* at = input_at(t, row) + n.x_steps() * kTile + from / 2;
    pair_row(h + from, to - from, at, n.split ? at + n.inputs() : nullptr);
  }

  // Rows [from, to) and panels [first, last) of step t.
  void step(TileUnit& unit, int64_t t, int64_t from, int64_t to, int64_t first,
            int64_t last) const {
    alignas(64) float z[kBlock * kWidth];
    for (int64_t p = first; p < last; ++p)
      for_blocks(from, to, [&](int64_t row, int64_t rows) HWY_ATTR {
        for (int64_t half = 0; half < 2; ++half) {
          TileProduct product;
          product.a = input_at(t, row);
          product.a_row = input_row();
          product.a_lower = kTile * input_row();
          product.a_low = n.split ? n.inputs() : 0;
          product.b = weights + (2 * p + half) * n.steps() * kStepPairs;
          product.b_low = n.weights();
          product.steps = n.steps();
          product.c = z + half * kBlock;
          product.c_row = kWidth;
          product.rows = static_cast<int>(rows);
          unit.multiply(product);
        }
        for (int64_t r = 0; r < rows; ++r) cells(z + r * kWidth, t, row + r, p);
      });
    if (t + 1 == n.s.steps) return;
    for (int64_t row = from; row < to; ++row)
      keep_h(f.outputs + (t * n.s.batch + row) * n.s.units, t + 1, row, first * kTile,
             std::min(n.s.units, last * kTile));
  }

  HWY_INLINE void cells(const float* z, int64_t t, int64_t row, int64_t p) const {
    const Floats d;
    const int64_t at = (p * n.s.steps + t) * n.s.batch + row, units = units_in(n, p);
    for (int64_t u = 0; u < kTile; u += kLanes) {
      Vector gates[4];
      for (int64_t g = 0; g < 4; ++g)
        gates[g] = hn::Add(hn::LoadU(d, z + g * kTile + u),
                           hn::LoadU(d, biases + (4 * p + g) * kTile + u));
      activate_all(gates);
      for (int64_t g = 0; g < 4; ++g)
        hn::StoreU(gates[g], d, f.gates + at * kWidth + g * kTile + u);
      float* stored = f.cells + at * kTile + u;
      const Vector before = t == 0 ? load_some(f.c0 + row * n.s.units + p * kTile + u, units - u)
                                   : hn::LoadU(d, stored - n.s.batch * kTile);
      Vector c[1] = {hn::MulAdd(before, gates[2], hn::Mul(gates[0], gates[1]))};
      if (f.cell_clip < kNoLimit<float>) c[0] = clamp(c[0], f.cell_clip);
      hn::StoreU(c[0], d, stored);
      if (t + 1 == n.s.steps) store_some(c[0], f.c + row * n.s.units + p * kTile + u, units - u);
      tanh_all(c);
      store_some(hn::Mul(c[0], gates[3]),
                 f.outputs + (t * n.s.batch + row) * n.s.units + p * kTile + u, units - u);
    }
  }
};

// ---------------------------------------------------------------- backward

struct NarrowBackward {
  const NarrowSizes& n;
  const LstmBackward<float>& b;
  float *dc, *dh;    // [panel][batch][16]; dh of a clipped pass, and to the state before
  float* bias_sums;  // [panel][8 rows of the batch][i | j | f | o], of dz before it is rounded

  Pair* dz() const { return reinterpret_cast<Pair*>(b.dz); }

  // `width` rows of the kernel, transposed: [blocks of 32 rows][panel][ij | fo][16][32].
  static void pack_transposed(const NarrowSizes& n, const float* kernel, int64_t width,
                              int64_t block, Pair* to, Pair* low) {
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t pair = 0; pair < 2; ++pair)
        for (int64_t half = 0; half < 2; ++half) {
          const int64_t first = block * kBlock + half * kTile;
          const int64_t place = (block * n.dz_steps() + 2 * p + pair) * kStepPairs + half * kTile;
          turned(
              [&](int64_t i, Pair* out, Pair* out_low) HWY_ATTR {
                const float* x =
                    kernel + (first + i) * 4 * n.s.units + 2 * pair * n.s.units + p * kTile;
                const int64_t units = first + i < width ? units_in(n, p) : 0;
                pair_rows(x, x + n.s.units, units, out, out_low);
              },
              to + place, low ? low + place : nullptr, kBlock);
        }
  }

  // Rows of dz, from row `at` of all steps on, times one block of transposed weights.
  void multiply(TileUnit& unit, int64_t at, int64_t rows, const Pair* weights, int64_t all_weights,
                float* sums) const {
    TileProduct product;
    product.a = dz() + at * kWidth;
    product.a_row = kWidth;
    product.a_lower = kTile * kWidth;
    product.a_step = kTile;
    product.a_two = n.rows() * kWidth;
    product.a_low = n.split ? kWidth / 2 : 0;
    product.b = weights;
    product.b_low = all_weights;
    product.steps = n.dz_steps();
    product.c = sums;
    product.rows = static_cast<int>(rows);
    unit.multiply(product);
  }

  void begin(int64_t from, int64_t to) const {
    std::fill_n(bias_sums, n.panels() * n.bias_groups() * kWidth, 0.0f);
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t row = from; row < to; ++row) {
        float *c = dc + (p * n.s.batch + row) * kTile, *h = dh + (p * n.s.batch + row) * kTile;
        std::fill_n(c, kTile, 0.0f);
        std::fill_n(h, kTile, 0.0f);
        if (b.d_c) std::copy_n(b.d_c + row * n.s.units + p * kTile, units_in(n, p), c);
      }
  }

  // Units of block `block` of step t, which hands dz to step t - 1.
  void block(TileUnit& unit, const Pair* weights, int64_t t, int64_t from, int64_t to,
             int64_t block) const {
    alignas(64) float sums[kBlock * kBlock];
    for_blocks(from, to, [&](int64_t row, int64_t rows) HWY_ATTR {
      if (t + 1 < n.s.steps)
        multiply(unit, (t + 1) * n.s.batch + row, rows, weights + block * n.dz_steps() * kStepPairs,
                 n.transposed(n.s.units), sums);
      else
        std::fill_n(sums, rows * kBlock, 0.0f);
      for (int64_t half = 0; half < 2 && 2 * block + half < n.panels(); ++half)
        for (int64_t r = 0; r < rows; ++r)
          cells(sums + r * kBlock + half * kTile, t, row + r, 2 * block + half);
    });
  }

  HWY_INLINE void cells(const float* from_next, int64_t t, int64_t row, int64_t p) const {
    const Floats d;
    const int64_t at = (p * n.s.steps + t) * n.s.batch + row, units = units_in(n, p);
    const int64_t in_rows = row * n.s.units + p * kTile;
    for (int64_t u = 0; u < kTile; u += kLanes) {
      Vector dh_now = hn::LoadU(d, from_next + u);
      if (b.d_outputs)
        dh_now = hn::Add(
            dh_now, load_some(b.d_outputs + t * n.s.batch * n.s.units + in_rows + u, units - u));
      if (b.d_h && t + 1 == n.s.steps)
        dh_now = hn::Add(dh_now, load_some(b.d_h + in_rows + u, units - u));
      const float* gates = b.gates + at * kWidth + u;
      const float* c = b.cells + at * kTile + u;
      const Vector before =
          t == 0 ? load_some(b.c0 + in_rows + u, units - u) : hn::LoadU(d, c - n.s.batch * kTile);
      float* carried = dc + (p * n.s.batch + row) * kTile + u;
      Vector y[1] = {hn::LoadU(d, c)};
      tanh_all(y);
      const CellGradients g = cell_gradients(
          b, dh_now, y[0], before, hn::LoadU(d, gates), hn::LoadU(d, gates + kTile),
          hn::LoadU(d, gates + 2 * kTile), hn::LoadU(d, gates + 3 * kTile), hn::LoadU(d, carried));
      // Units past the last are zeros, whatever an infinite input made of them.
      const auto real =
          hn::FirstN(d, static_cast<size_t>(std::clamp<int64_t>(units - u, 0, kLanes)));
      const auto only = [&](Vector v) HWY_ATTR { return hn::IfThenElseZero(real, v); };
      hn::StoreU(only(g.c_before), d, carried);
      if (b.dbias) {
        float* sums = bias_sums + (p * n.bias_groups() + row / kBiasRows) * kWidth + u;
        for (const Vector& dz_of_gate : {g.i, g.j, g.f, g.o}) {
          hn::StoreU(hn::Add(hn::LoadU(d, sums), dz_of_gate), d, sums);
          sums += kTile;
        }
      }
      WordVector low_ij, low_fo;
      const auto ij = make_pairs(only(g.i), only(g.j), n.split ? &low_ij : nullptr);
      const auto fo = make_pairs(only(g.f), only(g.o), n.split ? &low_fo : nullptr);
      // As floats, as the gates that stood here.
      float* to = b.dz + at * kWidth + u;
      hn::StoreU(hn::BitCast(d, ij), d, to);
      hn::StoreU(hn::BitCast(d, fo), d, to + kTile);
      if (!n.split && b.dz == b.gates) continue;  // finite numbers stand there
      if (!n.split) low_ij = low_fo = hn::Zero(Words());
      hn::StoreU(hn::BitCast(d, low_ij), d, to + 2 * kTile);
      hn::StoreU(hn::BitCast(d, low_fo), d, to + 3 * kTile);
    }
  }

  // With a limit for what a step hands back: dh of the step before first, then the lengths.
  void hand_back(TileUnit& unit, const Pair* weights, int64_t t, int64_t from, int64_t to,
                 int64_t block) const {
    alignas(64) float sums[kBlock * kBlock];
    for_blocks(from, to, [&](int64_t row, int64_t rows) {
      multiply(unit, t * n.s.batch + row, rows, weights + block * n.dz_steps() * kStepPairs,
               n.transposed(n.s.units), sums);
      for (int64_t half = 0; half < 2 && 2 * block + half < n.panels(); ++half)
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(sums + r * kBlock + half * kTile, kTile,
                      dh + ((2 * block + half) * n.s.batch + row + r) * kTile);
    });
  }

  void clip_rows(int64_t from, int64_t to) const {
    const double limit = static_cast<double>(b.state_clip);
    for (int64_t row = from; row < to; ++row) {
      double squares = 0;
      for (const float* part : {dc, dh})
        for (int64_t p = 0; p < n.panels(); ++p)
          for (int64_t u = 0; u < kTile; ++u) {
            const auto x = static_cast<double>(part[(p * n.s.batch + row) * kTile + u]);
            squares += x * x;
          }
      if (!(squares > limit * limit && std::isfinite(squares))) continue;
      const auto scale = static_cast<float>(limit / std::sqrt(squares));
      for (float* part : {dc, dh})
        for (int64_t p = 0; p < n.panels(); ++p)
          for (int64_t u = 0; u < kTile; ++u) part[(p * n.s.batch + row) * kTile + u] *= scale;
    }
  }

  void rows_clipped(TileUnit& unit, const Pair* weights, int64_t from, int64_t to) const {
    for (int64_t t = n.s.steps; t-- > 0;) {
      for (int64_t p = 0; p < n.panels(); ++p)
        for (int64_t row = from; row < to; ++row)
          cells(dh + (p * n.s.batch + row) * kTile, t, row, p);
      for (int64_t i = 0; i < n.h_steps(); ++i) hand_back(unit, weights, t, from, to, i);
      clip_rows(from, to);
    }
  }

  void store_biases() const {
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t g = 0; g < 4; ++g)
        for (int64_t u = 0; u < units_in(n, p); ++u) {
          const float* sums = bias_sums + p * n.bias_groups() * kWidth + g * kTile + u;
          float sum = 0;
          for (int64_t i = 0; i < n.bias_groups(); ++i) sum += sums[i * kWidth];
          b.dbias[g * n.s.units + p * kTile + u] = sum;
        }
  }

  void store_state(const float* from, float* to) const {
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t row = 0; row < n.s.batch; ++row)
        std::copy_n(from + (p * n.s.batch + row) * kTile, units_in(n, p),
                    to + row * n.s.units + p * kTile);
  }

  // Rows [from, to) of dx, of all steps.
  void input_rows(TileUnit& unit, const Pair* weights, int64_t from, int64_t to) const {
    alignas(64) float sums[kBlock * kBlock];
    for (int64_t i = 0; i < n.x_steps(); ++i)
      for_blocks(from, to, [&](int64_t row, int64_t rows) {
        multiply(unit, row, rows, weights + i * n.dz_steps() * kStepPairs, n.transposed(n.s.inputs),
                 sums);
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(sums + r * kBlock, std::min(kBlock, n.s.inputs - i * kBlock),
                      b.dx + (row + r) * n.s.inputs + i * kBlock);
      });
  }

  // One block of 16 of [x, h], transposed: [row steps][16][16].
  void pack_columns(int64_t k_block, Pair* to, Pair* low) const {
    const bool of_x = k_block < n.x_blocks();
    const int64_t width = of_x ? n.s.inputs : n.s.units;
    const int64_t first = (of_x ? k_block : k_block - n.x_blocks()) * kTile;
    const int64_t count = std::min(kTile, width - first);
    const auto row_at = [&](int64_t row) {
      if (of_x) return b.x + row * width + first;
      return (row < n.s.batch ? b.h0 + row * width : b.outputs + (row - n.s.batch) * width) + first;
    };
    for (int64_t step = 0; step < n.row_steps(); ++step) {
      const int64_t place = (k_block * n.row_steps() + step) * kTile * kTile;
      turned(
          [&](int64_t j, Pair* out, Pair* out_low) HWY_ATTR {
            const int64_t row = step * kDepth + 2 * j;
            const bool there = row < n.rows();
            pair_rows(there ? row_at(row) : nullptr, row + 1 < n.rows() ? row_at(row + 1) : nullptr,
                      there ? count : 0, out, out_low);
          },
          to + place, low ? low + place : nullptr, kTile);
    }
  }

  static constexpr int64_t kChunk = 8;  // steps of rows that stay in the first-level cache

  // Rows from `step` on of half a panel, paired anew: [16][first gates | second gates].
  void pair_dz(int64_t panel, int64_t half, int64_t step, bool low, Pair* to) const {
    const Words d;
    const Pair* from = dz() + panel * n.rows() * kWidth + half * kTile + (low ? kWidth / 2 : 0);
    for (int64_t j = 0; j < kTile; ++j, to += kBlock)
      for (int64_t u = 0; u < kTile; u += kLanes) {
        const int64_t row = step * kDepth + 2 * j;
        const auto at = [&](int64_t r) HWY_ATTR {
          return r < n.rows() ? hn::LoadU(d, from + r * kWidth + u) : hn::Zero(d);
        };
        const auto x = at(row), y = at(row + 1);
        hn::StoreU(paired(hn::ShiftLeft<16>(x), hn::ShiftLeft<16>(y)), d, to + u);
        hn::StoreU(paired(x, y), d, to + kTile + u);
      }
  }

  // Gradients of the weights of half a panel. `sums`: 16 k_blocks rows of 32.
  void weights_of(TileUnit& unit, int64_t panel, int64_t half, const Pair* columns,
                  float* sums) const {
    alignas(64) Pair paired_dz[2][kChunk * kStepPairs];
    for (int64_t from = 0; from == 0 || from < n.row_steps(); from += kChunk) {
      const int64_t steps = std::min(kChunk, n.row_steps() - from);
      for (int64_t part = 0; part < n.parts(); ++part)
        for (int64_t i = 0; i < steps; ++i)
          pair_dz(panel, half, from + i, part == 1, paired_dz[part] + i * kStepPairs);
      for (int64_t k = 0; k < n.k_blocks(); k += 2) {
        TileProduct product;
        product.a = columns + (k * n.row_steps() + from) * kTile * kTile;
        product.a_row = kTile;
        product.a_lower = n.row_steps() * kTile * kTile;
        product.a_step = kTile * kTile;
        product.a_two = 2 * product.a_step;
        product.a_low = n.split ? n.columns() : 0;
        product.b = paired_dz[0];
        product.b_low = kChunk * kStepPairs;
        product.steps = steps;
        product.c = sums + k * kTile * kBlock;
        product.rows = static_cast<int>(std::min(kBlock, (n.k_blocks() - k) * kTile));
        product.add = from > 0;
        unit.multiply(product);
      }
    }
    const int64_t units = units_in(n, panel);
    const auto gate_at = [&](float* row, int64_t second) {
      return row + (2 * half + second) * n.s.units + panel * kTile;
    };
    for (int64_t second = 0; second < 2; ++second) {
      for (int64_t k = 0; k < n.s.inputs + n.s.units; ++k) {
        const int64_t row = k < n.s.inputs ? k : n.x_blocks() * kTile + k - n.s.inputs;
        std::copy_n(sums + row * kBlock + second * kTile, units,
                    gate_at(b.dkernel + k * 4 * n.s.units, second));
      }
    }
  }
};

// Tasks of row groups or of columns, f(unit, from, to, first, last) once a step; see above.
template <class F>
void for_row_groups_of(ThreadTeam& team, const ProductOptions& products, int64_t rows, const F& f) {
  const int64_t groups = std::clamp<int64_t>(rows / kTile, 1, team.size());
  team.run(groups, [&](int64_t i) HWY_ATTR {
    TileUnit unit(products);
    const auto edge = [&](int64_t j) {
      return std::min(rows, up_to(rows * j / groups, kBiasRows) * kBiasRows);
    };
    f(unit, edge(i), edge(i + 1));
  });
}

}  // namespace

void ForwardNarrow(ThreadTeam& team, const ProductOptions& products, const NarrowSizes& n,
                   const LstmForward<float>& f, float* scratch) {
  float* biases = scratch;
  Pair* weights = reinterpret_cast<Pair*>(biases + n.panels() * kWidth);
  Pair* inputs = weights + n.parts() * n.weights();
  const NarrowForward pass{n, f, weights, inputs, biases};
  NarrowForward::pack_biases(n, f, biases);
  team.run(n.panels(), [&](int64_t p) HWY_ATTR {
    NarrowForward::pack_weights(n, f.kernel, p, weights, n.split ? weights + n.weights() : nullptr);
  });
  team.run(n.s.steps, [&](int64_t t) HWY_ATTR { pass.pack_inputs(t); });
  if (shares_columns(team, n)) {
    const int64_t tasks = team.size();
    for (int64_t t = 0; t < n.s.steps; ++t)
      team.run(tasks, [&](int64_t i) HWY_ATTR {
        TileUnit unit(products);
        pass.step(unit, t, 0, n.s.batch, n.panels() * i / tasks, n.panels() * (i + 1) / tasks);
      });
    return;
  }
  for_row_groups_of(team, products, n.s.batch,
                    [&](TileUnit& unit, int64_t from, int64_t to) HWY_ATTR {
                      for (int64_t t = 0; t < n.s.steps; ++t)
                        pass.step(unit, t, from, to, 0, n.panels());
                    });
}

void BackwardNarrow(ThreadTeam& team, const ProductOptions& products, const NarrowSizes& n,
                    const LstmBackward<float>& b, float* scratch) {
  const int64_t state = n.panels() * n.s.batch * kTile;
  float *dc = scratch, *dh = dc + state, *bias_sums = dh + state;
  Pair* packed = reinterpret_cast<Pair*>(bias_sums + n.panels() * n.bias_groups() * kWidth);
  const NarrowBackward pass{n, b, dc, dh, bias_sums};
  const auto pack_transposed = [&](const float* kernel, int64_t width) {
    Pair* low = n.split ? packed + n.transposed(width) : nullptr;
    team.run(up_to(width, kBlock), [&](int64_t i) HWY_ATTR {
      NarrowBackward::pack_transposed(n, kernel, width, i, packed, low);
    });
  };
  pack_transposed(b.kernel + n.s.inputs * 4 * n.s.units, n.s.units);
  pass.begin(0, n.s.batch);
  const bool clipped = b.state_clip < kNoLimit<float>;
  if (!clipped && shares_columns(team, n)) {
    const int64_t tasks = team.size(), blocks = n.h_steps();
    for (int64_t t = n.s.steps; t-- > 0;)
      team.run(tasks, [&](int64_t task) HWY_ATTR {
        TileUnit unit(products);
        for (int64_t i = blocks * task / tasks; i < blocks * (task + 1) / tasks; ++i)
          pass.block(unit, packed, t, 0, n.s.batch, i);
      });
  } else {
    for_row_groups_of(team, products, n.s.batch,
                      [&](TileUnit& unit, int64_t from, int64_t to) HWY_ATTR {
                        if (clipped) return pass.rows_clipped(unit, packed, from, to);
                        for (int64_t t = n.s.steps; t-- > 0;)
                          for (int64_t i = 0; i < n.h_steps(); ++i)
                            pass.block(unit, packed, t, from, to, i);
                      });
  }
  if (b.dbias) pass.store_biases();
  if (b.dc0) pass.store_state(dc, b.dc0);
  if (b.dh0) {
    if (!clipped)
      for_row_groups_of(team, products, n.s.batch,
                        [&](TileUnit& unit, int64_t from, int64_t to) HWY_ATTR {
                          for (int64_t i = 0; i < n.h_steps(); ++i)
                            pass.hand_back(unit, packed, 0, from, to, i);
                        });
    pass.store_state(dh, b.dh0);
  }
  if (b.dx) {
    constexpr int64_t kRows = 4 * kBlock;
    pack_transposed(b.kernel, n.s.inputs);
    team.run_ranges(n.rows(), kRows, [&](int64_t from, int64_t to) HWY_ATTR {
      TileUnit unit(products);
      pass.input_rows(unit, packed, from, to);
    });
  }
  if (b.dkernel) {
    float* sums = reinterpret_cast<float*>(packed + n.parts() * n.columns());
    team.run(n.k_blocks(), [&](int64_t k) HWY_ATTR {
      pass.pack_columns(k, packed, n.split ? packed + n.columns() : nullptr);
    });
    team.run(n.dz_steps(), [&](int64_t task) HWY_ATTR {
      TileUnit unit(products);
      pass.weights_of(unit, task / 2, task % 2, packed,
                      sums + task * n.k_blocks() * kTile * kBlock);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(ForwardNarrow);
HWY_EXPORT(BackwardNarrow);

NarrowSizes narrow_sizes(const ProductOptions& products, const LstmSizes& s) {
  return {s, products.precision == Precision::bf16x3};
}
}  // namespace

LstmMemory narrow::lstm_memory(const ProductOptions& products, const LstmSizes& s) {
  const NarrowSizes n = narrow_sizes(products, s);
  const int64_t gates = n.panels() * n.rows() * kWidth;
  const int64_t forward = n.panels() * kWidth + n.parts() * (n.weights() + n.inputs());
  const int64_t sums = n.dz_steps() * n.k_blocks() * kTile * kBlock;
  const int64_t packed =
      std::max({n.parts() * n.transposed(s.units), n.parts() * n.transposed(s.inputs),
                n.parts() * n.columns() + sums});
  return {.gates = gates,
          .cells = gates / 4,
          .forward_scratch = static_cast<size_t>(forward) * sizeof(float),
          .backward_scratch =
              static_cast<size_t>(n.panels() * (2 * s.batch * kTile + n.bias_groups() * kWidth) +
                                  packed) *
              sizeof(float)};
}

void narrow::lstm_forward(ThreadTeam& team, const ProductOptions& products, const LstmSizes& s,
                          const LstmForward<float>& f, std::byte* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(ForwardNarrow)
  (team, products, narrow_sizes(products, s), f, reinterpret_cast<float*>(scratch));
}

void narrow::lstm_backward(ThreadTeam& team, const ProductOptions& products, const LstmSizes& s,
                           const LstmBackward<float>& b, std::byte* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(BackwardNarrow)
  (team, products, narrow_sizes(products, s), b, reinterpret_cast<float*>(scratch));
}

void narrow::lstm_rows(const ProductOptions& products, const LstmSizes& s, const float* dz,
                       float* rows) noexcept {
  const NarrowSizes n = narrow_sizes(products, s);
  for (int64_t p = 0; p < n.panels(); ++p)
    for (int64_t row = 0; row < n.rows(); ++row)
      for (int64_t gate = 0; gate < 4; ++gate)
        for (int64_t u = 0; u < std::min(kTile, s.units - p * kTile); ++u) {
          const auto part = [&](int64_t low) {
            const auto pair = std::bit_cast<Pair>(
                dz[(p * n.rows() + row) * kWidth + low * kWidth / 2 + gate / 2 * kTile + u]);
            return std::bit_cast<float>(gate % 2 == 0 ? pair << 16 : pair & 0xffff0000u);
          };
          rows[row * 4 * s.units + gate * s.units + p * kTile + u] =
              n.split ? part(0) + part(1) : part(0);
        }
}

LstmPlace narrow::lstm_place(const LstmSizes& s, int64_t index) noexcept {
  const int64_t row = index / kWidth, step = row / s.batch;
  return {.step = step % s.steps,
          .row = row % s.batch,
          .gate = index % kWidth / kTile,
          .unit = step / s.steps * kTile + index % kTile};
}

}  // namespace rein::kernels
#endif
