// The way back through the steps of an LSTM with narrow products: dz of every step, and what leaves
// the sequence: gradients of x, of the states before the first step, and of the bias.
#include <cmath>

#if defined(REIN_KERNELS_SIMD_NARROW_LSTM_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_NARROW_LSTM_BACKWARD_INL_H_
#undef REIN_KERNELS_SIMD_NARROW_LSTM_BACKWARD_INL_H_
#else
#define REIN_KERNELS_SIMD_NARROW_LSTM_BACKWARD_INL_H_
#endif

#include "kernels/simd/lstm_backward-inl.h"
#include "kernels/simd/narrow_lstm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

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
                const int64_t units = first + i < width ? n.units_in(p) : 0;
                pair_rows(x, x + n.s.units, units, out, out_low);
              },
              to + place, low ? low + place : nullptr, kBlock);
        }
  }

  // Rows of dz, from row `at` of all steps on, times one block of transposed weights, of `width` in
  // all.
  void multiply(TileUnit& unit, int64_t at, int64_t rows, const Pair* weights, int64_t width,
                int64_t block, float* sums) const {
    TileProduct product;
    product.a = dz() + at * kWidth;
    product.a_row = kWidth;
    product.a_lower = kTile * kWidth;
    product.a_step = kTile;
    product.a_two = n.rows() * kWidth;
    product.a_low = n.split ? kWidth / 2 : 0;
    product.b = weights + block * n.dz_steps() * kStepPairs;
    product.b_low = n.transposed(width);
    product.steps = n.dz_steps();
    product.c = sums;
    product.rows = static_cast<int>(rows);
    unit.multiply(product);
  }

  // f(sums, row, panel) for what step t hands back to rows [from, to) and one block of units:
  // nothing if it is the step after the last.
  template <class F>
  HWY_INLINE void for_handed_back(TileUnit& unit, const Pair* weights, int64_t t, int64_t from,
                                  int64_t to, int64_t block, const F& f) const {
    alignas(64) float sums[kBlock * kBlock];
    for_blocks(from, to, [&](int64_t row, int64_t rows) HWY_ATTR {
      if (t < n.s.steps)
        multiply(unit, t * n.s.batch + row, rows, weights, n.s.units, block, sums);
      else
        std::fill_n(sums, rows * kBlock, 0.0f);
      for (int64_t half = 0; half < 2 && 2 * block + half < n.panels(); ++half)
        for (int64_t r = 0; r < rows; ++r)
          f(sums + r * kBlock + half * kTile, row + r, 2 * block + half);
    });
  }

  void begin(int64_t from, int64_t to) const {
    std::fill_n(bias_sums, n.panels() * n.bias_groups() * kWidth, 0.0f);
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t row = from; row < to; ++row) {
        float *c = dc + (p * n.s.batch + row) * kTile, *h = dh + (p * n.s.batch + row) * kTile;
        std::fill_n(c, kTile, 0.0f);
        std::fill_n(h, kTile, 0.0f);
        if (b.d_c) std::copy_n(b.d_c + row * n.s.units + p * kTile, n.units_in(p), c);
      }
  }

  // Rows [from, to) and blocks of units [first, last) of step t, which hands dz to step t - 1.
  void step(TileUnit& unit, const Pair* weights, int64_t t, int64_t from, int64_t to, int64_t first,
            int64_t last) const {
    to_and_fro(t, first, last, [&](int64_t block) HWY_ATTR {
      for_handed_back(unit, weights, t + 1, from, to, block,
                      [&](const float* sums, int64_t row, int64_t p)
                          HWY_ATTR { cells(sums, t, row, p); });
    });
  }

  HWY_INLINE void cells(const float* from_next, int64_t t, int64_t row, int64_t p) const {
    const Floats d;
    const int64_t at = (p * n.s.steps + t) * n.s.batch + row, units = n.units_in(p);
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
    for_handed_back(unit, weights, t, from, to, block,
                    [&](const float* sums, int64_t row, int64_t p) {
                      std::copy_n(sums, kTile, dh + (p * n.s.batch + row) * kTile);
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
        for (int64_t u = 0; u < n.units_in(p); ++u) {
          const float* sums = bias_sums + p * n.bias_groups() * kWidth + g * kTile + u;
          float sum = 0;
          for (int64_t i = 0; i < n.bias_groups(); ++i) sum += sums[i * kWidth];
          b.dbias[g * n.s.units + p * kTile + u] = sum;
        }
  }

  void store_state(const float* from, float* to) const {
    for (int64_t p = 0; p < n.panels(); ++p)
      for (int64_t row = 0; row < n.s.batch; ++row)
        std::copy_n(from + (p * n.s.batch + row) * kTile, n.units_in(p),
                    to + row * n.s.units + p * kTile);
  }

  // Rows [from, to) of dx, of all steps.
  void input_rows(TileUnit& unit, const Pair* weights, int64_t from, int64_t to) const {
    alignas(64) float sums[kBlock * kBlock];
    for (int64_t i = 0; i < n.x_steps(); ++i)
      for_blocks(from, to, [&](int64_t row, int64_t rows) {
        multiply(unit, row, rows, weights, n.s.inputs, i, sums);
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(sums + r * kBlock, std::min(kBlock, n.s.inputs - i * kBlock),
                      b.dx + (row + r) * n.s.inputs + i * kBlock);
      });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
