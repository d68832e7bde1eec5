// The LSTM with narrow products: see narrow_lstm-inl.h for how it lays out its numbers.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/narrow_lstm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>

#include "kernels/simd/narrow_lstm_backward-inl.h"
#include "kernels/simd/narrow_lstm_forward-inl.h"
#include "kernels/simd/narrow_lstm_weights-inl.h"
#include "rein/kernels/narrow.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

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
  if (pass.ahead())
    team.run(n.panels(), [&](int64_t p) HWY_ATTR {
      TileUnit unit(products);
      pass.multiply_ahead(unit, p);
    });
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
    team.run(pieces_of(width, kBlock), [&](int64_t i) HWY_ATTR {
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
        pass.step(unit, packed, t, 0, n.s.batch, blocks * task / tasks,
                  blocks * (task + 1) / tasks);
      });
  } else {
    for_row_groups_of(team, products, n.s.batch,
                      [&](TileUnit& unit, int64_t from, int64_t to) HWY_ATTR {
                        if (clipped) return pass.rows_clipped(unit, packed, from, to);
                        for (int64_t t = n.s.steps; t-- > 0;)
                          pass.step(unit, packed, t, from, to, 0, n.h_steps());
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
    const NarrowWeights weights{n, b};
    float* sums = reinterpret_cast<float*>(packed + n.parts() * n.columns());
    team.run(n.k_blocks(), [&](int64_t k) HWY_ATTR {
      weights.pack_columns(k, packed, n.split ? packed + n.columns() : nullptr);
    });
    for (int64_t from = 0; from == 0 || from < n.row_steps(); from += weights.span()) {
      const int64_t to = std::min(n.row_steps(), from + weights.span());
      team.run(n.dz_steps(), [&](int64_t task) HWY_ATTR {
        TileUnit unit(products);
        float* own = sums + task * n.k_blocks() * kTile * kBlock;
        weights.add_weights(unit, task / 2, task % 2, packed, from, to, own);
        if (to == n.row_steps()) weights.store_weights(task / 2, task % 2, own);
      });
    }
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
        for (int64_t u = 0; u < n.units_in(p); ++u) {
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
