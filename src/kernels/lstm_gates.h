// What an LSTM does between the products of two steps, on some rows of the batch.
#pragma once

#include <cstdint>

namespace rein::kernels {

/// Rows of all arrays are dense: [rows, H] or, where they hold four gates, [rows, 4H].
struct GatesForward {
  const float* bias = nullptr;  // [4H]
  float forget_bias = 0;
  const float* c_before = nullptr;
  float* gates = nullptr;  // in: the sums that enter the gates, without bias; out: their values
  float* c = nullptr;
  float* h = nullptr;
};
void lstm_gates_forward(int64_t rows, int64_t units, const GatesForward& p) noexcept;

struct GatesBackward {
  const float* gates = nullptr;
  const float* c_before = nullptr;
  const float* c = nullptr;
  const float* dh = nullptr;         // from the step after
  const float* d_outputs = nullptr;  // from above; may be null
  float* dc = nullptr;               // in: from the step after; out: for the step before
  float* dz = nullptr;               // [rows, 4H]
  float* dbias = nullptr;            // [4H]: the sum of dz over the rows is added
};
void lstm_gates_backward(int64_t rows, int64_t units, const GatesBackward& p) noexcept;

}  // namespace rein::kernels
