// The way through the steps of an LSTM with narrow products.

#if defined(REIN_KERNELS_SIMD_NARROW_LSTM_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_NARROW_LSTM_FORWARD_INL_H_
#undef REIN_KERNELS_SIMD_NARROW_LSTM_FORWARD_INL_H_
#else
#define REIN_KERNELS_SIMD_NARROW_LSTM_FORWARD_INL_H_
#endif

#include "kernels/simd/lstm_gates-inl.h"
#include "kernels/simd/narrow_lstm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

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
        for (int64_t u = 0; u < n.units_in(p); ++u)
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
        pack_b(from + p * kTile, row, n.units_in(p), k, to + place, low ? low + place : nullptr);
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

  float* gates_at(int64_t p, int64_t row) const { return f.gates + (p * n.rows() + row) * kWidth; }

  // Steps [first, last) of products of one panel, for up to 32 of the rows of all steps.
  void multiply(TileUnit& unit, int64_t p, int64_t row, int64_t rows, int64_t first, int64_t last,
                bool add, float* sums) const {
    for (int64_t half = 0; half < 2; ++half) {
      TileProduct product;
      product.a = input_at(0, row) + first * kTile;
      product.a_row = input_row();
      product.a_lower = kTile * input_row();
      product.a_low = n.split ? n.inputs() : 0;
      product.b = weights + ((2 * p + half) * n.steps() + first) * kStepPairs;
      product.b_low = n.weights();
      product.steps = last - first;
      product.c = sums + half * kBlock;
      product.c_row = kWidth;
      product.rows = static_cast<int>(rows);
      product.add = add;
      unit.multiply(product);
    }
  }

  // Whether x is multiplied for all steps ahead, a panel at a time: see lstm.cpp.
  bool ahead() const {
    return n.dz_steps() * n.x_steps() * kStepPairs * n.parts() * int64_t{sizeof(Pair)} >
           kSecondLevel;
  }
  void multiply_ahead(TileUnit& unit, int64_t p) const {
    for_blocks(0, n.rows(), [&](int64_t row, int64_t rows) {
      multiply(unit, p, row, rows, 0, n.x_steps(), false, gates_at(p, row));
    });
  }

  // Rows [from, to) and panels [first, last) of step t.
  void step(TileUnit& unit, int64_t t, int64_t from, int64_t to, int64_t first,
            int64_t last) const {
    alignas(64) float z[kBlock * kWidth];
    const int64_t begin = ahead() ? n.x_steps() : 0;
    to_and_fro(t, first, last, [&](int64_t p) HWY_ATTR {
      for_blocks(from, to, [&](int64_t row, int64_t rows) HWY_ATTR {
        float* sums = begin > 0 ? gates_at(p, t * n.s.batch + row) : z;
        multiply(unit, p, t * n.s.batch + row, rows, begin, n.steps(), begin > 0, sums);
        for (int64_t r = 0; r < rows; ++r) cells(sums + r * kWidth, t, row + r, p);
      });
    });
    if (t + 1 == n.s.steps) return;
    for (int64_t row = from; row < to; ++row)
      keep_h(f.outputs + (t * n.s.batch + row) * n.s.units, t + 1, row, first * kTile,
             std::min(n.s.units, last * kTile));
  }

  HWY_INLINE void cells(const float* z, int64_t t, int64_t row, int64_t p) const {
    const Floats d;
    const int64_t at = (p * n.s.steps + t) * n.s.batch + row, units = n.units_in(p);
    for (int64_t u = 0; u < kTile; u += kLanes) {
      Vector gates[4];
      float* to = f.gates + at * kWidth + u;
      for (int64_t g = 0; g < 4; ++g)
        gates[g] = hn::Add(hn::LoadU(d, z + g * kTile + u),
                           hn::LoadU(d, biases + (4 * p + g) * kTile + u));
      activate_all(gates);
      for (int64_t g = 0; g < 4; ++g) hn::StoreU(gates[g], d, to + g * kTile);
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

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
