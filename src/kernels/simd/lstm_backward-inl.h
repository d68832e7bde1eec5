// The way back through the steps of an LSTM: from what comes from above to dz of every step and dc
// before the first.
#include <cmath>

#if defined(REIN_KERNELS_SIMD_LSTM_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_LSTM_BACKWARD_INL_H_
#undef REIN_KERNELS_SIMD_LSTM_BACKWARD_INL_H_
#else
#define REIN_KERNELS_SIMD_LSTM_BACKWARD_INL_H_
#endif

#include "kernels/simd/lstm_gates-inl.h"
#include "kernels/simd/lstm_panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

// R rows of dz times one block of transposed weights.
template <int R, int W>
HWY_INLINE void multiply_dz(Vector (&sums)[R * W], const LstmSizes& s, const float* dz, int64_t at,
                            const float* packed) {
  for (int64_t p = 0; p < panels_of(s.units); ++p)
    multiply<R, W>(sums, dz + (p * s.steps * s.batch + at) * kGates, kGates, 1,
                   packed + p * kGates * W * kLanes, kGates);
}

// Gradients of the gates before their activation, and of c before the step.
struct CellGradients {
  Vector i, j, f, o, c_before;
};

// From dh, y = tanh(c), c before, the values of the gates, and what the next step carries to c.
HWY_INLINE CellGradients cell_gradients(const LstmBackward<float>& b, Vector dh, Vector y,
                                        Vector c_before, Vector i, Vector j, Vector forget,
                                        Vector o, Vector carried) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f);
  const Vector from_h = hn::Mul(dh, o);
  Vector dcell = hn::MulAdd(from_h, hn::NegMulAdd(y, y, one), carried);
  if (b.cell_clip < kNoLimit<float>) {
    const Vector c = hn::MulAdd(c_before, forget, hn::Mul(i, j));  // as forward, to the bit
    dcell = hn::IfThenZeroElse(hn::Gt(hn::Abs(c), hn::Set(d, b.cell_clip)), dcell);
  }
  CellGradients g{hn::Mul(hn::Mul(dcell, j), hn::NegMulAdd(i, i, i)),
                  hn::Mul(hn::Mul(dcell, i), hn::NegMulAdd(j, j, one)),
                  hn::Mul(hn::Mul(dcell, c_before), hn::NegMulAdd(forget, forget, forget)),
                  hn::Mul(hn::Mul(dh, y), hn::NegMulAdd(o, o, o)), hn::Mul(dcell, forget)};
  if (b.gate_clip < kNoLimit<float>) {
    g.i = clamp(g.i, b.gate_clip), g.j = clamp(g.j, b.gate_clip);
    g.f = clamp(g.f, b.gate_clip), g.o = clamp(g.o, b.gate_clip);
  }
  return g;
}

// Where the backward pass stands: at step t.
struct BackwardStep {
  const LstmSizes& s;
  const LstmBackward<float>& b;
  const float* weights;  // of h, transposed
  float* dc;
  int64_t t;

  // What h of this step, of rows `row` on, and c from the next, mean for the gates and for c
  // before.
  template <int R>
  HWY_INLINE void cells(const Vector (&dh)[R], int64_t p, int64_t row) const {
    Vector y[R];
    const float* c = b.cells + ((p * s.steps + t) * s.batch + row) * kLanes;
    for (int r = 0; r < R; ++r) y[r] = hn::LoadU(Floats(), c + r * kLanes);
    tanh_all(y);
    for (int r = 0; r < R; ++r) cell(dh[r], y[r], p, row + r);
  }

  HWY_INLINE void cell(Vector dh, Vector y, int64_t p, int64_t row) const {
    const Floats d;
    if (b.d_outputs)
      dh = hn::Add(dh, load_units(b.d_outputs + (t * s.batch + row) * s.units, p, s.units));
    if (b.d_h && t == s.steps - 1) dh = hn::Add(dh, load_units(b.d_h + row * s.units, p, s.units));
    const int64_t at = (p * s.steps + t) * s.batch + row;
    const float* gates = b.gates + at * kGates;
    const Vector c_before = t == 0 ? load_units(b.c0 + row * s.units, p, s.units)
                                   : hn::LoadU(d, b.cells + (at - s.batch) * kLanes);
    float* carried = dc + (p * s.batch + row) * kLanes;
    const CellGradients g = cell_gradients(
        b, dh, y, c_before, hn::LoadU(d, gates), hn::LoadU(d, gates + kLanes),
        hn::LoadU(d, gates + 2 * kLanes), hn::LoadU(d, gates + 3 * kLanes), hn::LoadU(d, carried));
    // Products with dz and lengths of rows add up all lanes: what an infinite input made of those
    // past the last unit (0 times infinity) must not be among them.
    const auto real = hn::FirstN(d, lanes_in(p, s.units));
    const auto store = [&](Vector v, float* to)
                           HWY_ATTR { hn::StoreU(hn::IfThenElseZero(real, v), d, to); };
    float* to = b.dz + at * kGates;
    store(g.i, to), store(g.j, to + kLanes);
    store(g.f, to + 2 * kLanes), store(g.o, to + 3 * kLanes);
    store(g.c_before, carried);
  }
};

// Rows of one block of units: dh from dz of the step after, and at once the cells.
template <int W>
struct BackwardTile {
  const BackwardStep& step;
  int64_t block;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const LstmSizes& s = step.s;
    const Floats d;
    const int64_t panels = panels_of(s.units), first = 4 * block;
    Vector dh[R * W];
    for (int i = 0; i < R * W; ++i) dh[i] = hn::Zero(d);
    if (step.t < s.steps - 1)
      multiply_dz<R, W>(dh, s, step.b.dz, (step.t + 1) * s.batch + row,
                        step.weights + block * panels * kGates * kGates);
    for (int q = 0; q < W; ++q) {
      if (first + q >= panels) break;
      Vector column[R];
      for (int r = 0; r < R; ++r) column[r] = dh[r * W + q];
      step.cells(column, first + q, row);
    }
  }
};

// dc after the last step.
inline void begin_backward(const LstmSizes& s, const LstmBackward<float>& b, float* dc,
                           int64_t from, int64_t to) {
  for (int64_t p = 0; p < panels_of(s.units); ++p)
    for (int64_t row = from; row < to; ++row) {
      const Floats d;
      hn::StoreU(b.d_c ? load_units(b.d_c + row * s.units, p, s.units) : hn::Zero(d), d,
                 dc + (p * s.batch + row) * kLanes);
    }
}

inline void backward_rows(const LstmSizes& s, const LstmBackward<float>& b, const float* weights,
                          float* dc, int64_t from, int64_t to) {
  begin_backward(s, b, dc, from, to);
  for (int64_t t = s.steps; t-- > 0;) {
    const BackwardStep step{s, b, weights, dc, t};
    to_and_fro(t, 0, blocks_of(s.units), [&](int64_t block) HWY_ATTR {
      for_block<BackwardTile>(from, to, block, s.units, step, block);
    });
  }
}

inline void backward_blocks(ThreadTeam& team, const LstmSizes& s, const LstmBackward<float>& b,
                            const float* weights, float* dc) {
  begin_backward(s, b, dc, 0, s.batch);
  for (int64_t t = s.steps; t-- > 0;) {
    const BackwardStep step{s, b, weights, dc, t};
    share_panels(team, s, t, blocks_of(s.units), 4, [&](int64_t block) HWY_ATTR {
      for_block<BackwardTile>(0, s.batch, block, s.units, step, block);
    });
  }
}

// ---------------------------------------------------------------- with a limit for [dc, dh]
// A row's length is known when all its blocks are: dh goes through memory, laid out as dc.

// dh of the step before, from dz of this one.
template <int W>
struct HandedBackTile {
  const BackwardStep& step;
  float* dh;
  int64_t block;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const Floats d;
    const LstmSizes& s = step.s;
    const int64_t panels = panels_of(s.units), first = 4 * block;
    Vector sums[R * W];
    for (int i = 0; i < R * W; ++i) sums[i] = hn::Zero(d);
    multiply_dz<R, W>(sums, s, step.b.dz, step.t * s.batch + row,
                      step.weights + block * panels * kGates * kGates);
    for (int q = 0; q < W; ++q)
      for (int r = 0; r < R; ++r)
        if (first + q < panels)
          hn::StoreU(sums[r * W + q], d, dh + ((first + q) * s.batch + row + r) * kLanes);
  }
};

// Lanes of a row apart, then by halves: the sum does not depend on who takes the row.
inline void clip_rows(const LstmSizes& s, float limit, float* dc, float* dh, int64_t from,
                      int64_t to) {
  const Floats d;
  const int64_t panels = panels_of(s.units);
  const double longest = static_cast<double>(limit) * static_cast<double>(limit);
  for (int64_t row = from; row < to; ++row) {
    double lanes[kLanes] = {};
    for (const float* part : {dc, dh})
      for (int64_t p = 0; p < panels; ++p)
        for (int64_t k = 0; k < kLanes; ++k) {
          const auto x = static_cast<double>(part[(p * s.batch + row) * kLanes + k]);
          lanes[k] += x * x;
        }
    for (int64_t n = kLanes / 2; n > 0; n /= 2)
      for (int64_t k = 0; k < n; ++k) lanes[k] += lanes[k + n];
    const double squares = lanes[0];
    if (!(squares > longest && std::isfinite(squares))) continue;
    const Vector scale =
        hn::Set(d, static_cast<float>(static_cast<double>(limit) / std::sqrt(squares)));
    for (float* part : {dc, dh})
      for (int64_t p = 0; p < panels; ++p) {
        float* x = part + (p * s.batch + row) * kLanes;
        hn::StoreU(hn::Mul(hn::LoadU(d, x), scale), d, x);
      }
  }
}

inline void clipped_cells(const BackwardStep& step, const float* dh, int64_t p, int64_t from,
                          int64_t to) {
  for (int64_t row = from; row < to; ++row) {
    const Vector one[1] = {hn::LoadU(Floats(), dh + (p * step.s.batch + row) * kLanes)};
    step.cells(one, p, row);
  }
}

// As begin_backward; nothing comes to dh from a step after the last.
inline void begin_clipped(const LstmSizes& s, const LstmBackward<float>& b, float* dc, float* dh,
                          int64_t from, int64_t to) {
  begin_backward(s, b, dc, from, to);
  for (int64_t p = 0; p < panels_of(s.units); ++p)
    std::fill_n(dh + (p * s.batch + from) * kLanes, (to - from) * kLanes, 0.0f);
}

inline void clipped_backward_rows(const LstmSizes& s, const LstmBackward<float>& b,
                                  const float* weights, float* dc, float* dh, int64_t from,
                                  int64_t to) {
  begin_clipped(s, b, dc, dh, from, to);
  for (int64_t t = s.steps; t-- > 0;) {
    const BackwardStep step{s, b, weights, dc, t};
    for (int64_t p = 0; p < panels_of(s.units); ++p) clipped_cells(step, dh, p, from, to);
    if (t == 0 && !b.dh0 && !b.dc0) break;
    for (int64_t block = 0; block < blocks_of(s.units); ++block)
      for_block<HandedBackTile>(from, to, block, s.units, step, dh, block);
    clip_rows(s, b.state_clip, dc, dh, from, to);
  }
}

inline void clipped_backward_blocks(ThreadTeam& team, const LstmSizes& s,
                                    const LstmBackward<float>& b, const float* weights, float* dc,
                                    float* dh) {
  constexpr int64_t kCells = 64;  // worth handing to a thread
  begin_clipped(s, b, dc, dh, 0, s.batch);
  for (int64_t t = s.steps; t-- > 0;) {
    const BackwardStep step{s, b, weights, dc, t};
    team.run_ranges(panels_of(s.units),
                    std::max<int64_t>(1, kCells / std::max<int64_t>(1, s.batch)),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      for (int64_t p = begin; p < end; ++p) clipped_cells(step, dh, p, 0, s.batch);
                    });
    if (t == 0 && !b.dh0 && !b.dc0) break;
    share_panels(team, s, t, blocks_of(s.units), 4, [&](int64_t block) HWY_ATTR {
      for_block<HandedBackTile>(0, s.batch, block, s.units, step, dh, block);
    });
    clip_rows(s, b.state_clip, dc, dh, 0, s.batch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
