#include "rein/kernels/lstm.h"

#include <algorithm>
#include <bit>

#include "kernels/flush_to_zero.h"
#include "kernels/lstm_gates.h"
#include "rein/base/memory.h"
#include "rein/kernels/gemm.h"

namespace rein::kernels {
namespace {

// Rows of the batch that run through all steps together. Depends on the sizes alone: at most eight
// tiles, none so small that the calls of a step cost more than its products, or that handing it to
// a thread costs more than its steps.
int64_t tile_rows(const LstmSizes& s) {
  constexpr int64_t kMostTiles = 8, kFewestRows = 8;
  constexpr int64_t kStep = 16 << 10, kSequence = 1 << 20;  // multiplications of a tile
  const int64_t a_row = 4 * s.units * (s.inputs + s.units);
  const int64_t least = std::max({kFewestRows, kStep / a_row, kSequence / (a_row * s.steps)});
  // A power of two, so that two or four threads get the same number of tiles.
  const auto room = static_cast<uint64_t>(std::clamp<int64_t>(s.batch / least, 1, kMostTiles));
  const auto tiles = static_cast<int64_t>(std::bit_floor(room));
  return std::max<int64_t>(1, (s.batch + tiles - 1) / tiles);
}

void forward_rows(const LstmSizes& s, const LstmForward<float>& p, int64_t from,
                  int64_t to) noexcept {
  const FlushToZero flush;
  const int64_t rows = to - from, units = s.units, width = 4 * units;
  const float* h_kernel = p.kernel + s.inputs * width;
  // One product with the inputs of several steps, where a step alone would have few rows.
  constexpr int64_t kManyRows = 128;
  const bool all_rows = rows == s.batch;
  const int64_t ahead = all_rows ? std::clamp<int64_t>(kManyRows / rows, 1, s.steps) : 1;
  for (int64_t t = 0; t < s.steps; ++t) {
    const int64_t row = t * s.batch + from, before = row - s.batch;
    float* z = p.gates + row * width;
    if (t % ahead == 0)
      gemm_tile<float>(Trans::no, Trans::no, rows * std::min(ahead, s.steps - t), width, s.inputs,
                       p.x + row * s.inputs, s.inputs, p.kernel, width, 0, z, width);
    gemm_tile<float>(Trans::no, Trans::no, rows, width, units,
                     t == 0 ? p.h0 + from * units : p.outputs + before * units, units, h_kernel,
                     width, 1, z, width);
    lstm_gates_forward(rows, units,
                       {.bias = p.bias,
                        .forget_bias = p.forget_bias,
                        .c_before = t == 0 ? p.c0 + from * units : p.cells + before * units,
                        .gates = z,
                        .c = p.cells + row * units,
                        .h = p.outputs + row * units});
  }
}

// Where the backward pass keeps what it needs on its way.
struct Workspace {
  float* dz = nullptr;        // [T, B, 4H]
  float* dh = nullptr;        // [B, H]
  float* dc = nullptr;        // [B, H]
  float* h_kernel = nullptr;  // [4H, H]: the kernel's rows of h, transposed
  float* x_kernel = nullptr;  // [4H, I]: and of x, if dx is asked for
  float* dbias = nullptr;     // [tiles, 4H]
  size_t bytes = 0;
};

Workspace lay_out(const LstmSizes& s, bool needs_dx, std::byte* base) {
  Workspace w;
  const auto take = [&](int64_t floats) {
    auto* place = base ? reinterpret_cast<float*>(base + w.bytes) : nullptr;
    w.bytes += round_up(static_cast<size_t>(floats) * sizeof(float), Buffer::kAlignment);
    return place;
  };
  const int64_t width = 4 * s.units, rows = tile_rows(s);
  w.dz = take(s.steps * s.batch * width);
  w.dh = take(s.batch * s.units);
  w.dc = take(s.batch * s.units);
  w.h_kernel = take(width * s.units);
  w.x_kernel = take(needs_dx ? width * s.inputs : 0);
  w.dbias = take((s.batch + rows - 1) / rows * width);
  return w;
}

void copy_or_zero(const float* from, int64_t n, float* to) {
  if (from)
    std::copy_n(from, n, to);
  else
    std::fill_n(to, n, 0.0f);
}

// All steps of some rows, last to first: fills their rows of dz, dh0, dc0, and the tile's dbias.
void backward_rows(const LstmSizes& s, const LstmBackward<float>& p, const Workspace& w,
                   float* dbias, int64_t from, int64_t to) noexcept {
  const FlushToZero flush;
  const int64_t rows = to - from, units = s.units, width = 4 * units, first = from * units;
  float* dh = w.dh + first;
  float* dc = (p.dc0 ? p.dc0 : w.dc) + first;
  copy_or_zero(p.d_h ? p.d_h + first : nullptr, rows * units, dh);
  copy_or_zero(p.d_c ? p.d_c + first : nullptr, rows * units, dc);
  std::fill_n(dbias, width, 0.0f);
  for (int64_t t = s.steps; t-- > 0;) {
    const int64_t row = t * s.batch + from, before = row - s.batch;
    float* dz = w.dz + row * width;
    lstm_gates_backward(rows, units,
                        {.gates = p.gates + row * width,
                         .c_before = t == 0 ? p.c0 + first : p.cells + before * units,
                         .c = p.cells + row * units,
                         .dh = dh,
                         .d_outputs = p.d_outputs ? p.d_outputs + row * units : nullptr,
                         .dc = dc,
                         .dz = dz,
                         .dbias = dbias});
    float* to_h = t > 0 ? dh : p.dh0 ? p.dh0 + first : nullptr;
    if (to_h)
      gemm_tile<float>(Trans::no, Trans::no, rows, units, width, dz, width, w.h_kernel, units, 0,
                       to_h, units);
  }
}

// to [columns, rows] = transpose of from [rows, columns], shared.
void transpose_shared(ThreadTeam& team, int64_t rows, int64_t columns, const float* from,
                      float* to) {
  constexpr int64_t kRows = 64;
  team.run_ranges(rows, kRows, [&](int64_t begin, int64_t end) {
    transpose(end - begin, columns, from + begin * columns, columns, to + begin, rows);
  });
}

// Products over all steps at once, straight into the rows of dkernel.
void weight_gradients(ThreadTeam& team, const LstmSizes& s, const LstmBackward<float>& p,
                      const float* dz) {
  const int64_t units = s.units, width = 4 * units, batch = s.batch;
  float* dh_kernel = p.dkernel + s.inputs * width;
  gemm<float>(team, Trans::yes, Trans::no, s.inputs, width, s.steps * batch, p.x, s.inputs, dz,
              width, 0, p.dkernel, width, nullptr);
  gemm<float>(team, Trans::yes, Trans::no, units, width, batch, p.h0, units, dz, width, 0,
              dh_kernel, width, nullptr);
  gemm<float>(team, Trans::yes, Trans::no, units, width, (s.steps - 1) * batch, p.outputs, units,
              dz + batch * width, width, 1, dh_kernel, width, nullptr);
}

}  // namespace

void lstm_forward(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& p) noexcept {
  team.run_ranges(s.batch, tile_rows(s),
                  [&](int64_t from, int64_t to) { forward_rows(s, p, from, to); });
}

void lstm_backward(ThreadTeam& team, const LstmSizes& s, const LstmBackward<float>& p,
                   std::byte* scratch) noexcept {
  const int64_t width = 4 * s.units, rows = tile_rows(s);
  const Workspace w = lay_out(s, p.dx != nullptr, scratch);
  transpose_shared(team, s.units, width, p.kernel + s.inputs * width, w.h_kernel);
  team.run_ranges(s.batch, rows, [&](int64_t from, int64_t to) {
    backward_rows(s, p, w, w.dbias + from / rows * width, from, to);
  });
  if (p.dx) {
    transpose_shared(team, s.inputs, width, p.kernel, w.x_kernel);
    gemm<float>(team, Trans::no, Trans::no, s.steps * s.batch, s.inputs, width, w.dz, width,
                w.x_kernel, s.inputs, 0, p.dx, s.inputs, nullptr);
  }
  if (p.dkernel) weight_gradients(team, s, p, w.dz);
  if (p.dbias) {
    std::fill_n(p.dbias, width, 0.0f);
    for (int64_t tile = 0; tile * rows < s.batch; ++tile)
      for (int64_t k = 0; k < width; ++k) p.dbias[k] += w.dbias[tile * width + k];
  }
}

size_t lstm_backward_scratch_bytes(const LstmSizes& sizes, bool needs_dx) {
  return lay_out(sizes, needs_dx, nullptr).bytes;
}

}  // namespace rein::kernels
