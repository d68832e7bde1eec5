// An LSTM over a whole sequence, forward and backward (Hochreiter, Schmidhuber: "Long short-term
// memory", 1997, with the forget gate of Gers, Schmidhuber, Cummins, 2000; the layout is
// TensorFlow's BasicLSTMCell). With z = [x_t, h_{t-1}] kernel + bias, in blocks i, j, f, o:
//
//     c_t = c_{t-1} sigmoid(f + forget_bias) + sigmoid(i) tanh(j),  h_t = tanh(c_t) sigmoid(o)
//
// Three limits, each infinite where there is none: `cell_clip` clamps every c_t to
// [-cell_clip, cell_clip] (LSTMCell of TensorFlow). `gate_clip` clamps dz, the gradient of z, at
// every step (Graves: "Generating sequences with recurrent neural networks", 2013). `state_clip` is
// for what a step hands back to the state before it: if [dc_{t-1}, dh_{t-1}] of a row of the batch
// is longer, it is scaled to that length (Kaldi's BackpropTruncationComponent; what comes from
// above is not part of it). A row without a finite length stays as it is, and so does a NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "rein/base/thread_team.h"

namespace rein::kernels {

struct LstmSizes {
  int64_t steps = 0, batch = 0, inputs = 0, units = 0;  // T, B, I, H
};

template <class T>
inline constexpr T kNoLimit = std::numeric_limits<T>::infinity();

/// Arrays of the forward pass, row-major and dense.
template <class T>
struct LstmForward {
  const T* x = nullptr;       // [T, B, I]
  const T* kernel = nullptr;  // [I + H, 4H]
  const T* bias = nullptr;    // [4H]
  const T* h0 = nullptr;      // [B, H]
  const T* c0 = nullptr;      // [B, H]
  T forget_bias = 1;
  T cell_clip = kNoLimit<T>;
  // Results.
  T* outputs = nullptr;  // [T, B, H]: h of every step
  T* c = nullptr;        // [B, H]: after the last step
  T* gates = nullptr;    // for the backward pass: the values of i, j, f, o,
  T* cells = nullptr;    // and c of every step, in an order of the kernel's own
};

/// What a number of `gates` or of `dz` stands for. `unit` may lie past the last: padding.
struct LstmPlace {
  int64_t step, row, gate, unit;  // gates i, j, f, o
};
template <class T>
LstmPlace lstm_place(const LstmSizes& sizes, int64_t index) noexcept;

/// Numbers in the order of `gates`, or `dz`, as rows [T, B, 4H].
template <class T>
void lstm_rows(ThreadTeam& team, const LstmSizes& sizes, const T* gates, T* rows) noexcept;

/// Arrays of the backward pass. `d` stands for the derivative of the loss.
template <class T>
struct LstmBackward {
  const T *x = nullptr, *kernel = nullptr, *h0 = nullptr, *c0 = nullptr;
  const T *outputs = nullptr, *gates = nullptr, *cells = nullptr;
  // What comes from above; null where the loss does not use that result.
  const T* d_outputs = nullptr;  // [T, B, H]
  const T* d_h = nullptr;        // [B, H]: of the last h alone
  const T* d_c = nullptr;        // [B, H]: of the last c
  // Results. Gradients of the gates before their activation, in the order of `gates`; may be the
  // same memory, which spares a step a quarter of what it reads and writes.
  T* dz = nullptr;
  // Null where nobody asks.
  T* dx = nullptr;
  T *dkernel = nullptr, *dbias = nullptr;
  T *dh0 = nullptr, *dc0 = nullptr;
  // Where forward clamped c, dc becomes 0; without a limit it passes straight through the clamp.
  T cell_clip = kNoLimit<T>;
  T gate_clip = kNoLimit<T>, state_clip = kNoLimit<T>;
};

/// What a pass needs besides: sizes of `gates` and `cells` in elements, of scratch in bytes. They
/// belong to the instruction set in use.
struct LstmMemory {
  int64_t gates = 0, cells = 0;
  size_t forward_scratch = 0, backward_scratch = 0;
};
template <class T>
LstmMemory lstm_memory(const LstmSizes& sizes);

/// T is float (vector code, the rows of a batch shared among threads) or double (the plain twin).
/// `scratch` holds as many bytes as `lstm_memory` says, aligned to a cache line.
template <class T>
void lstm_forward(ThreadTeam& team, const LstmSizes& sizes, const LstmForward<T>& p,
                  std::byte* scratch) noexcept;
template <class T>
void lstm_backward(ThreadTeam& team, const LstmSizes& sizes, const LstmBackward<T>& p,
                   std::byte* scratch) noexcept;

/// The plain twins, step by step as the formulas read; gates [T, B, 4H] and cells [T, B, H].
namespace ref {
template <class T>
void lstm_forward(const LstmSizes& sizes, const LstmForward<T>& p) noexcept;

/// `scratch`: `lstm_backward_scratch_bytes<T>` bytes.
template <class T>
void lstm_backward(const LstmSizes& sizes, const LstmBackward<T>& p, std::byte* scratch) noexcept;
template <class T>
size_t lstm_backward_scratch_bytes(const LstmSizes& sizes);
}  // namespace ref

}  // namespace rein::kernels
