// Gradients of the weights of an LSTM with narrow products.

#if defined(REIN_KERNELS_SIMD_NARROW_LSTM_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_NARROW_LSTM_WEIGHTS_INL_H_
#undef REIN_KERNELS_SIMD_NARROW_LSTM_WEIGHTS_INL_H_
#else
#define REIN_KERNELS_SIMD_NARROW_LSTM_WEIGHTS_INL_H_
#endif

#include "kernels/simd/narrow_lstm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

// Gradients of the weights, of all steps at once: [x, h] transposed times dz.
struct NarrowWeights {
  const NarrowSizes& n;
  const LstmBackward<float>& b;

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

  static constexpr int64_t kChunk = 8;  // steps of rows whose dz stays in the first-level cache

  // Steps of rows whose [x, h] stays in the second-level cache.
  int64_t span() const {
    const int64_t bytes = n.parts() * n.k_blocks() * kTile * kTile * int64_t{sizeof(Pair)};
    return std::max<int64_t>(1, kSecondLevel / bytes / kChunk) * kChunk;
  }

  // Rows from `step` on of half a panel, paired anew: [16][first gates | second gates].
  void pair_dz(int64_t panel, int64_t half, int64_t step, bool low, Pair* to) const {
    const Words d;
    const Pair* from = reinterpret_cast<const Pair*>(b.dz) + panel * n.rows() * kWidth +
                       half * kTile + (low ? kWidth / 2 : 0);
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

  // What steps [first, last) of rows add to the gradients of the weights of half a panel. `sums`:
  // 16 k_blocks rows of 32.
  void add_weights(TileUnit& unit, int64_t panel, int64_t half, const Pair* columns, int64_t first,
                   int64_t last, float* sums) const {
    alignas(64) Pair paired_dz[2][kChunk * kStepPairs];
    for (int64_t from = first; from == first || from < last; from += kChunk) {
      const int64_t steps = std::min(kChunk, last - from);
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
  }

  void store_weights(int64_t panel, int64_t half, const float* sums) const {
    const int64_t units = n.units_in(panel);
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

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
