// The LSTM in vector code, gates fused into the recurrent product. A group of rows goes through all
// steps on its own, and nobody waits for anybody inside the sequence, unless threads share the
// units of each step (`shares_units`).
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/lstm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd/lstm_backward-inl.h"
#include "kernels/simd/lstm_panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

// Whether threads share the units of each step, which they have to wait for, rather than the rows:
// when there are too few rows for each to have some, or so few that weights beyond the second-level
// cache would have to come for each of them.
bool shares_units(const ThreadTeam& team, const LstmSizes& s) {
  if (team.size() == 1 || blocks_of(s.units) <= panels_a_task(s, 4)) return false;
  const int64_t weights = (s.inputs + s.units) * 4 * s.units * int64_t{sizeof(float)};
  return s.batch < 2 * kTileRows ||
         (weights > kSecondLevel && s.batch < 4 * kTileRows * team.size());
}

// Whether x is multiplied for all steps ahead, a panel at a time: when its weights alone exceed the
// second-level cache, they would have to come anew for each step. It changes no bit (but of a batch
// of one row: see kTurns), for sums wait in memory as they are.
bool multiplies_ahead(const LstmSizes& s) {
  return s.inputs * 4 * s.units * int64_t{sizeof(float)} > kSecondLevel;
}

// R rows of all steps: bias and x, to where their gates will stand.
struct AheadTile {
  const LstmSizes& s;
  const LstmForward<float>& f;
  const float *weights, *biases;
  int64_t p;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const Floats d;
    Vector z[R * 4];
    for (int i = 0; i < R * 4; ++i) z[i] = hn::LoadU(d, biases + p * kGates + (i % 4) * kLanes);
    multiply<R, 4>(z, f.x + row * s.inputs, s.inputs, 1,
                   weights + p * (s.inputs + s.units) * kGates, s.inputs);
    float* gates = f.gates + (p * s.steps * s.batch + row) * kGates;
    for (int i = 0; i < R * 4; ++i) hn::StoreU(z[i], d, gates + i * kLanes);
  }
};

void multiply_ahead(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& f,
                    const float* weights, const float* biases) {
  team.run(panels_of(s.units), [&](int64_t p) HWY_ATTR {
    for_row_blocks(0, s.steps * s.batch, AheadTile{s, f, weights, biases, p});
  });
}

// Tiles of one step: R rows of one panel, from sums to c and h.
struct ForwardTile {
  const LstmSizes& s;
  const LstmForward<float>& f;
  const float *weights, *biases;
  bool ahead;
  int64_t t, p;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const Floats d;
    Vector z[R * 4];
    float* gates = f.gates + ((p * s.steps + t) * s.batch + row) * kGates;
    const float* w = weights + p * (s.inputs + s.units) * kGates;
    if (ahead) {
      for (int i = 0; i < R * 4; ++i) z[i] = hn::LoadU(d, gates + i * kLanes);
    } else {
      const float* bias = biases + p * kGates;
      for (int i = 0; i < R * 4; ++i) z[i] = hn::LoadU(d, bias + (i % 4) * kLanes);
      multiply<R, 4>(z, f.x + (t * s.batch + row) * s.inputs, s.inputs, 1, w, s.inputs);
    }
    const float* h = t == 0 ? f.h0 : f.outputs + (t - 1) * s.batch * s.units;
    multiply<R, 4>(z, h + row * s.units, s.units, 1, w + s.inputs * kGates, s.units);

    // Through memory, so that the gates have all registers to themselves.
    for (int i = 0; i < R * 4; ++i) hn::StoreU(z[i], d, gates + i * kLanes);
    Vector c[R];
    for (int r = 0; r + 2 <= R; r += 2) cells<2>(row + r, gates + r * kGates, c + r);
    if constexpr (R % 2 == 1) cells<1>(row + R - 1, gates + (R - 1) * kGates, c + R - 1);
    tanh_all(c);
    for (int r = 0; r < R; ++r)
      store_units(hn::Mul(c[r], hn::LoadU(d, gates + r * kGates + 3 * kLanes)),
                  f.outputs + (t * s.batch + row + r) * s.units, p, s.units);
  }

  // Gates of N rows, and c.
  template <int N>
  HWY_INLINE void cells(int64_t row, float* gates, Vector* c) const {
    const Floats d;
    Vector z[4 * N];
    for (int i = 0; i < 4 * N; ++i) z[i] = hn::LoadU(d, gates + i * kLanes);
    activate_all(z);
    for (int i = 0; i < 4 * N; ++i) hn::StoreU(z[i], d, gates + i * kLanes);
    float* stored = f.cells + ((p * s.steps + t) * s.batch + row) * kLanes;
    for (int r = 0; r < N; ++r, stored += kLanes) {
      const Vector before = t == 0 ? load_units(f.c0 + (row + r) * s.units, p, s.units)
                                   : hn::LoadU(d, stored - s.batch * kLanes);
      c[r] = hn::MulAdd(before, z[4 * r + 2], hn::Mul(z[4 * r], z[4 * r + 1]));
      if (f.cell_clip < kNoLimit<float>) c[r] = clamp(c[r], f.cell_clip);
      hn::StoreU(c[r], d, stored);
      if (t == s.steps - 1) store_units(c[r], f.c + (row + r) * s.units, p, s.units);
    }
  }
};

// One group of rows through all steps: nobody waits for anybody.
void forward_rows(const LstmSizes& s, const LstmForward<float>& f, const float* weights,
                  const float* biases, bool ahead, int64_t from, int64_t to) {
  for (int64_t t = 0; t < s.steps; ++t)
    to_and_fro(t, 0, panels_of(s.units), [&](int64_t p) HWY_ATTR {
      for_row_blocks(from, to, ForwardTile{s, f, weights, biases, ahead, t, p});
    });
}

// All rows through all steps, the panels of each step shared out.
void forward_panels(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& f,
                    const float* weights, const float* biases, bool ahead) {
  for (int64_t t = 0; t < s.steps; ++t)
    share_panels(team, s, t, panels_of(s.units), 1, [&](int64_t p) HWY_ATTR {
      for_row_blocks(0, s.batch, ForwardTile{s, f, weights, biases, ahead, t, p});
    });
}

// Rows of dz times transposed weights: dx of all steps, or dh before the first.
template <int W>
struct InputTile {
  const LstmSizes& s;
  const float *dz, *weights;
  int64_t block, width;
  float* to;

  template <int R>
  HWY_INLINE void tile(int64_t row) const {
    const Floats d;
    Vector sums[R * W];
    for (int i = 0; i < R * W; ++i) sums[i] = hn::Zero(d);
    multiply_dz<R, W>(sums, s, dz, row, weights + block * panels_of(s.units) * kGates * kGates);
    for (int q = 0; q < W; ++q)
      for (int r = 0; r < R; ++r)
        if ((4 * block + q) * kLanes < width)
          store_units(sums[r * W + q], to + (row + r) * width, 4 * block + q, width);
  }
};

void input_rows(const LstmSizes& s, const float* dz, const float* weights, int64_t width, float* to,
                int64_t first, int64_t last) {
  for (int64_t block = 0; block < blocks_of(width); ++block)
    for_block<InputTile>(first, last, block, width, s, dz, weights, block, width, to);
}

// Weights' gradients of one panel, [k][gates]: a [rows, width] transposed times dz.
struct WeightTile {
  const float *a, *dz;
  int64_t width, rows;
  float* to;

  template <int R>
  HWY_INLINE void tile(int64_t k) const {
    const Floats d;
    Vector sums[R * 4];
    float* at = to + k * kGates;
    for (int i = 0; i < R * 4; ++i) sums[i] = hn::LoadU(d, at + i * kLanes);
    multiply<R, 4>(sums, a + k, 1, width, dz, rows);
    for (int i = 0; i < R * 4; ++i) hn::StoreU(sums[i], d, at + i * kLanes);
  }
};

// Chunks of rows that stay in the second-level cache while all k pass over them.
constexpr int64_t kChunkRows = 256;

void weight_rows(const float* a, int64_t width, const float* dz, int64_t rows, float* to,
                 int64_t k_from, int64_t k_to) {
  for_row_blocks(k_from, k_to, WeightTile{a, dz, width, rows, to});
}

// Biases' gradients of one panel, [gates]: even rows and odd ones apart.
void bias_rows(const float* dz, int64_t rows, float* to) {
  const Floats d;
  Vector even[4], odd[4];
  for (int g = 0; g < 4; ++g) even[g] = hn::LoadU(d, to + g * kLanes), odd[g] = hn::Zero(d);
  for (int64_t r = 0; r + 1 < rows; r += 2, dz += 2 * kGates)
    for (int g = 0; g < 4; ++g) {
      even[g] = hn::Add(even[g], hn::LoadU(d, dz + g * kLanes));
      odd[g] = hn::Add(odd[g], hn::LoadU(d, dz + kGates + g * kLanes));
    }
  for (int g = 0; g < 4; ++g) {
    if (rows % 2 == 1) even[g] = hn::Add(even[g], hn::LoadU(d, dz + g * kLanes));
    hn::StoreU(hn::Add(even[g], odd[g]), d, to + g * kLanes);
  }
}

void weight_panel(const LstmSizes& s, const LstmBackward<float>& b, float* sums_all, int64_t p,
                  int64_t k_from, int64_t k_to) {
  const int64_t rows = s.steps * s.batch;
  const float* dz = b.dz + p * rows * kGates;
  float* sums = sums_all + p * (s.inputs + s.units) * kGates;
  std::fill(sums + k_from * kGates, sums + k_to * kGates, 0.0f);
  const int64_t x_to = std::min(k_to, s.inputs), h_from = std::max(k_from, s.inputs);
  float* h_sums = sums + s.inputs * kGates;
  const bool with_bias = k_to == s.inputs + s.units;  // as one more k, of ones
  alignas(64) float biases[kGates] = {};
  for (int64_t from = 0; from < rows; from += kChunkRows) {
    const int64_t n = std::min(kChunkRows, rows - from);
    if (k_from < x_to)
      weight_rows(b.x + from * s.inputs, s.inputs, dz + from * kGates, n, sums, k_from, x_to);
    if (h_from >= k_to) continue;
    int64_t first = from, last = from + n;
    if (first < s.batch) {  // the first step saw h0
      const int64_t m = std::min(last, s.batch) - first;
      weight_rows(b.h0 + first * s.units, s.units, dz + first * kGates, m, h_sums,
                  h_from - s.inputs, k_to - s.inputs);
      first += m;
    }
    if (first < last)
      weight_rows(b.outputs + (first - s.batch) * s.units, s.units, dz + first * kGates,
                  last - first, h_sums, h_from - s.inputs, k_to - s.inputs);
    if (with_bias) bias_rows(dz + from * kGates, n, biases);
  }
  const Floats d;
  if (with_bias)
    for (int64_t g = 0; g < 4; ++g)
      store_units(hn::LoadU(d, biases + g * kLanes), b.dbias + g * s.units, p, s.units);
}

// Into how many pieces of k the weights' gradients are cut: at least two, for panels are few. All
// panels pass over a piece of [x | h], which should then stay in the second-level cache: the more
// of them, the more often dz, 4 kLanes wide, comes anew.
int64_t weight_pieces(const LstmSizes& s) {
  const int64_t k_size = s.inputs + s.units;
  const int64_t bytes = s.steps * s.batch * k_size * int64_t{sizeof(float)};
  const int64_t pieces = (bytes + kSecondLevel - 1) / kSecondLevel;
  return pieces <= k_size / (2 * kGates) ? std::max<int64_t>(2, pieces) : 2;
}

// Groups of rows: two threads share a batch of 128 in halves. Rows are computed alike in every
// group, so their number may follow the team's.
template <class F>
void for_row_groups(ThreadTeam& team, int64_t rows, int64_t multiplications, const F& f) {
  const int64_t worth = std::min(rows / kTileRows, multiplications / kWorthWaking);
  const int64_t groups = std::clamp<int64_t>(worth, 1, team.size());
  team.run(groups, [&](int64_t i) { f(rows * i / groups, rows * (i + 1) / groups); });
}

// From panels to rows.
void store_state(const LstmSizes& s, const float* panels, float* to, int64_t first, int64_t last) {
  for (int64_t p = 0; p < panels_of(s.units); ++p)
    for (int64_t row = first; row < last; ++row)
      store_units(hn::LoadU(Floats(), panels + (p * s.batch + row) * kLanes), to + row * s.units, p,
                  s.units);
}

}  // namespace

void Forward(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& f, float* scratch) {
  float* weights = scratch;
  float* biases = weights + panels_of(s.units) * (s.inputs + s.units) * kGates;
  pack_weights(team, s, f, weights, biases);
  const bool ahead = multiplies_ahead(s);
  if (ahead) multiply_ahead(team, s, f, weights, biases);
  if (shares_units(team, s)) return forward_panels(team, s, f, weights, biases, ahead);
  const int64_t products = s.steps * s.batch * (s.inputs + s.units) * 4 * s.units;
  for_row_groups(team, s.batch, products, [&](int64_t from, int64_t to) HWY_ATTR {
    forward_rows(s, f, weights, biases, ahead, from, to);
  });
}

void Backward(ThreadTeam& team, const LstmSizes& s, const LstmBackward<float>& b, float* scratch) {
  const int64_t panels = panels_of(s.units), rows = s.steps * s.batch;
  const int64_t k_size = s.inputs + s.units, width = 4 * s.units;
  const float* dz = b.dz;
  float* dc = scratch;
  float* dh = dc + panels * s.batch * kLanes;  // of a clipped pass alone
  float* weights = dh + panels * s.batch * kLanes;
  const float* h_kernel = b.kernel + s.inputs * 4 * s.units;
  pack_transposed(team, s, h_kernel, s.units, weights);
  const bool by_units = shares_units(team, s), clipped = b.state_clip < kNoLimit<float>;
  if (by_units && clipped) clipped_backward_blocks(team, s, b, weights, dc, dh);
  if (by_units && !clipped) backward_blocks(team, s, b, weights, dc);
  for_row_groups(team, s.batch, rows * s.units * width, [&](int64_t from, int64_t to) HWY_ATTR {
    if (!by_units && clipped) clipped_backward_rows(s, b, weights, dc, dh, from, to);
    if (!by_units && !clipped) backward_rows(s, b, weights, dc, from, to);
    if (b.dh0 && clipped) store_state(s, dh, b.dh0, from, to);
    if (b.dh0 && !clipped) input_rows(s, dz, weights, s.units, b.dh0, from, to);
    if (b.dc0) store_state(s, dc, b.dc0, from, to);
  });
  if (b.dkernel) {
    const int64_t pieces = weight_pieces(s), products = rows * k_size * kGates / pieces;
    const bool by_pieces = pieces > 2;  // else dz of a panel comes once for both
    share_tasks(team, panels * pieces, products, [&](int64_t task) HWY_ATTR {
      const int64_t p = by_pieces ? task % panels : task / pieces;
      const int64_t piece = by_pieces ? task / panels : task % pieces;
      weight_panel(s, b, weights, p, k_size * piece / pieces, k_size * (piece + 1) / pieces);
    });
    unpack_weights(team, s, weights, b.dkernel);
  }
  if (b.dx) {
    pack_transposed(team, s, b.kernel, s.inputs, weights);
    for_row_groups(team, rows, rows * s.inputs * width, [&](int64_t from, int64_t to) HWY_ATTR {
      input_rows(s, dz, weights, s.inputs, b.dx, from, to);
    });
  }
}

void Rows(ThreadTeam& team, const LstmSizes& s, const float* gates, float* rows) {
  team.run(s.steps, [&](int64_t t) HWY_ATTR {
    for (int64_t p = 0; p < panels_of(s.units); ++p) {
      const float* from = gates + (p * s.steps + t) * s.batch * kGates;
      float* to = rows + t * s.batch * 4 * s.units;
      for (int64_t i = 0; i < 4 * s.batch; ++i)  // a gate of a row
        store_units(hn::LoadU(Floats(), from + i * kLanes), to + i * s.units, p, s.units);
    }
  });
}

LstmPlace Place(const LstmSizes& s, int64_t index) {  // [panel][step][row][gate][lane]
  const int64_t row = index / kGates, step = row / s.batch;
  return {.step = step % s.steps,
          .row = row % s.batch,
          .gate = index % kGates / kLanes,
          .unit = step / s.steps * kLanes + index % kLanes};
}

LstmMemory Memory(const LstmSizes& s) {
  const int64_t panels = panels_of(s.units), rows = s.steps * s.batch;
  const int64_t packed = panels * (s.inputs + s.units) * kGates;
  const int64_t transposed =
      std::max(blocks_of(s.units), blocks_of(s.inputs)) * panels * kGates * kGates;
  const int64_t forward = packed + panels * kGates;
  const int64_t backward = panels * 2 * s.batch * kLanes + std::max(packed, transposed);
  return {.gates = panels * rows * kGates,
          .cells = panels * rows * kLanes,
          .forward_scratch = static_cast<size_t>(forward) * sizeof(float),
          .backward_scratch = static_cast<size_t>(backward) * sizeof(float)};
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(Forward);
HWY_EXPORT(Backward);
HWY_EXPORT(Memory);
HWY_EXPORT(Place);
HWY_EXPORT(Rows);
}  // namespace

template <>
LstmMemory lstm_memory<float>(const LstmSizes& s) {
  return HWY_DYNAMIC_DISPATCH(Memory)(s);
}
template <>
LstmMemory lstm_memory<double>(const LstmSizes& s) {
  const int64_t sequence = s.steps * s.batch * s.units;
  return {.gates = 4 * sequence,
          .cells = sequence,
          .backward_scratch = ref::lstm_backward_scratch_bytes<double>(s)};
}

template <>
LstmPlace lstm_place<float>(const LstmSizes& s, int64_t index) noexcept {
  return HWY_DYNAMIC_DISPATCH(Place)(s, index);
}
template <>
LstmPlace lstm_place<double>(const LstmSizes& s,
                             int64_t index) noexcept {  // [step][row][gate][unit]
  const int64_t row = index / (4 * s.units);
  return {.step = row / s.batch,
          .row = row % s.batch,
          .gate = index / s.units % 4,
          .unit = index % s.units};
}

template <>
void lstm_rows(ThreadTeam& team, const LstmSizes& s, const float* gates, float* rows) noexcept {
  HWY_DYNAMIC_DISPATCH(Rows)(team, s, gates, rows);
}
template <>
void lstm_rows(ThreadTeam&, const LstmSizes& s, const double* gates, double* rows) noexcept {
  std::copy_n(gates, s.steps * s.batch * 4 * s.units, rows);
}

template <>
void lstm_forward(ThreadTeam& team, const LstmSizes& s, const LstmForward<float>& f,
                  std::byte* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(Forward)(team, s, f, reinterpret_cast<float*>(scratch));
}
template <>
void lstm_forward(ThreadTeam&, const LstmSizes& s, const LstmForward<double>& f,
                  std::byte*) noexcept {
  ref::lstm_forward(s, f);
}

template <>
void lstm_backward(ThreadTeam& team, const LstmSizes& s, const LstmBackward<float>& b,
                   std::byte* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(Backward)(team, s, b, reinterpret_cast<float*>(scratch));
}
template <>
void lstm_backward(ThreadTeam&, const LstmSizes& s, const LstmBackward<double>& b,
                   std::byte* scratch) noexcept {
  ref::lstm_backward(s, b, scratch);
}
}  // namespace rein::kernels
#endif
