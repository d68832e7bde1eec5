// Sizes of what an LSTM with narrow products packs: layouts are in simd/narrow_lstm-inl.h.
#pragma once

#include <algorithm>

#include "kernels/tile_product.h"
#include "rein/kernels/lstm.h"

namespace rein::kernels {

constexpr int64_t kBiasRows = 8;       // of the batch, that one thread takes
constexpr int64_t kWidth = 4 * kTile;  // of a row of a panel: gates, or pairs of dz

struct NarrowSizes {
  LstmSizes s;
  bool split;

  int64_t parts() const { return split ? 2 : 1; }
  int64_t rows() const { return s.steps * s.batch; }
  int64_t panels() const { return pieces_of(s.units, kTile); }
  int64_t units_in(int64_t panel) const { return std::min(kTile, s.units - panel * kTile); }
  // Steps of products along the inputs, the units, and all gates.
  int64_t x_steps() const { return pieces_of(s.inputs, kDepth); }
  int64_t h_steps() const { return pieces_of(s.units, kDepth); }
  int64_t steps() const { return x_steps() + h_steps(); }
  int64_t dz_steps() const { return 2 * panels(); }
  // Pairs of what a pass packs: the weights, [x, h] of every step, and a transposed part of the
  // weights that `width` rows of the kernel make.
  int64_t weights() const { return dz_steps() * steps() * kStepPairs; }
  int64_t inputs() const { return rows() * steps() * kTile; }
  int64_t transposed(int64_t width) const {
    return pieces_of(width, kBlock) * dz_steps() * kStepPairs;
  }
  // [x, h] transposed: blocks of 16 of x, then of h.
  int64_t x_blocks() const { return pieces_of(s.inputs, kTile); }
  int64_t k_blocks() const { return x_blocks() + pieces_of(s.units, kTile); }
  int64_t bias_groups() const { return pieces_of(s.batch, kBiasRows); }
  int64_t row_steps() const { return pieces_of(rows(), kDepth); }
  int64_t columns() const { return k_blocks() * row_steps() * kTile * kTile; }
};

}  // namespace rein::kernels
