#include "rein/kernels/lstm.h"

#include <algorithm>
#include <cmath>

#include "rein/kernels/gemm.h"

namespace rein::kernels::ref {
namespace {

template <class T>
T sigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}

// To [-limit, limit]; NaN stays.
template <class T>
T clamp(T x, T limit) {
  return x > limit ? limit : x < -limit ? -limit : x;
}

// Scales each row of [dc, dh] down to the limit.
template <class T>
void clip_rows(const LstmSizes& s, T limit, T* dc, T* dh) {
  const double longest = static_cast<double>(limit) * static_cast<double>(limit);
  for (int64_t row = 0; row < s.batch; ++row) {
    double squares = 0;
    for (const T* d : {dc, dh})
      for (int64_t u = 0; u < s.units; ++u) {
        const double x = static_cast<double>(d[row * s.units + u]);
        squares += x * x;
      }
    if (!(squares > longest && std::isfinite(squares))) continue;
    const T scale = static_cast<T>(static_cast<double>(limit) / std::sqrt(squares));
    for (T* d : {dc, dh})
      for (int64_t u = 0; u < s.units; ++u) d[row * s.units + u] *= scale;
  }
}

}  // namespace

template <class T>
void lstm_forward(const LstmSizes& s, const LstmForward<T>& p) noexcept {
  const int64_t H = s.units, width = 4 * H, n = s.batch * H;
  const T* h_kernel = p.kernel + s.inputs * width;
  for (int64_t t = 0; t < s.steps; ++t) {
    const T* h_before = t == 0 ? p.h0 : p.outputs + (t - 1) * n;
    const T* c_before = t == 0 ? p.c0 : p.cells + (t - 1) * n;
    T* z = p.gates + 4 * t * n;
    gemm<T>(Trans::no, Trans::no, s.batch, width, s.inputs, p.x + t * s.batch * s.inputs, s.inputs,
            p.kernel, width, 0, z, width);
    gemm<T>(Trans::no, Trans::no, s.batch, width, H, h_before, H, h_kernel, width, 1, z, width);
    for (int64_t row = 0; row < s.batch; ++row)
      for (int64_t u = 0; u < H; ++u) {
        T* g = z + row * width + u;
        const T i = g[0] = sigmoid(g[0] + p.bias[u]);
        const T j = g[H] = std::tanh(g[H] + p.bias[H + u]);
        const T f = g[2 * H] = sigmoid(g[2 * H] + (p.bias[2 * H + u] + p.forget_bias));
        const T o = g[3 * H] = sigmoid(g[3 * H] + p.bias[3 * H + u]);
        const int64_t at = row * H + u;
        const T c = p.cells[t * n + at] = clamp(c_before[at] * f + i * j, p.cell_clip);
        p.outputs[t * n + at] = std::tanh(c) * o;
        if (t == s.steps - 1) p.c[at] = c;
      }
  }
}

template <class T>
void lstm_backward(const LstmSizes& s, const LstmBackward<T>& p, std::byte* scratch) noexcept {
  const int64_t H = s.units, width = 4 * H, n = s.batch * H;
  const T* h_kernel = p.kernel + s.inputs * width;
  T* dh = reinterpret_cast<T*>(scratch);  // [B, H] from the step after
  T* dc = dh + n;
  for (int64_t k = 0; k < n; ++k) {
    dh[k] = p.d_h ? p.d_h[k] : 0;
    dc[k] = p.d_c ? p.d_c[k] : 0;
  }
  if (p.dkernel) std::fill_n(p.dkernel, (s.inputs + H) * width, T{0});
  if (p.dbias) std::fill_n(p.dbias, width, T{0});
  for (int64_t t = s.steps; t-- > 0;) {
    const T* x = p.x + t * s.batch * s.inputs;
    const T* h_before = t == 0 ? p.h0 : p.outputs + (t - 1) * n;
    const T* c_before = t == 0 ? p.c0 : p.cells + (t - 1) * n;
    T* dz = p.dz + 4 * t * n;
    for (int64_t row = 0; row < s.batch; ++row)
      for (int64_t u = 0; u < H; ++u) {
        const int64_t at = row * H + u;
        const T* g = p.gates + 4 * t * n + row * width + u;
        const T i = g[0], j = g[H], f = g[2 * H], o = g[3 * H];
        const T tanh_c = std::tanh(p.cells[t * n + at]);
        const T d_output = dh[at] + (p.d_outputs ? p.d_outputs[t * n + at] : 0);
        const bool clipped = std::abs(c_before[at] * f + i * j) > p.cell_clip;
        const T d_cell = clipped ? 0 : dc[at] + d_output * o * (1 - tanh_c * tanh_c);
        T* d = dz + row * width + u;
        d[0] = d_cell * j * i * (1 - i);
        d[H] = d_cell * i * (1 - j * j);
        d[2 * H] = d_cell * c_before[at] * f * (1 - f);
        d[3 * H] = d_output * tanh_c * o * (1 - o);
        for (int64_t k = 0; k < 4; ++k) d[k * H] = clamp(d[k * H], p.gate_clip);
        dc[at] = d_cell * f;
        if (p.dbias)
          for (int64_t k = 0; k < 4; ++k) p.dbias[k * H + u] += d[k * H];
      }
    gemm<T>(Trans::no, Trans::yes, s.batch, H, width, dz, width, h_kernel, width, 0, dh, H);
    if (p.state_clip < kNoLimit<T>) clip_rows(s, p.state_clip, dc, dh);
    if (p.dx)
      gemm<T>(Trans::no, Trans::yes, s.batch, s.inputs, width, dz, width, p.kernel, width, 0,
              p.dx + t * s.batch * s.inputs, s.inputs);
    if (p.dkernel) {
      gemm<T>(Trans::yes, Trans::no, s.inputs, width, s.batch, x, s.inputs, dz, width, 1, p.dkernel,
              width);
      gemm<T>(Trans::yes, Trans::no, H, width, s.batch, h_before, H, dz, width, 1,
              p.dkernel + s.inputs * width, width);
    }
  }
  if (p.dh0) std::copy_n(dh, n, p.dh0);
  if (p.dc0) std::copy_n(dc, n, p.dc0);
}

template <class T>
size_t lstm_backward_scratch_bytes(const LstmSizes& s) {
  return static_cast<size_t>(2 * s.batch * s.units) * sizeof(T);
}

template void lstm_forward(const LstmSizes&, const LstmForward<float>&) noexcept;
template void lstm_forward(const LstmSizes&, const LstmForward<double>&) noexcept;
template void lstm_backward(const LstmSizes&, const LstmBackward<float>&, std::byte*) noexcept;
template void lstm_backward(const LstmSizes&, const LstmBackward<double>&, std::byte*) noexcept;
template size_t lstm_backward_scratch_bytes<float>(const LstmSizes&);
template size_t lstm_backward_scratch_bytes<double>(const LstmSizes&);

}  // namespace rein::kernels::ref
