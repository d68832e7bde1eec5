// The LSTM weights of other libraries in TensorFlow's layout, as values of a graph: parameters stay
// as the files have them, and so do their gradients.
#pragma once

#include <optional>

#include "rein/compute/ops.h"

namespace golden {

struct LstmWeights {
  rein::Value kernel;  // [I + H, 4H], gates i, j, f, o
  rein::Value bias;    // [4H]
};

/// Keras: kernel [I, 4H], recurrent_kernel [H, 4H], bias [4H] or none; gates i, f, c, o.
LstmWeights keras_lstm(rein::Value kernel, rein::Value recurrent, std::optional<rein::Value> bias);

/// PyTorch: weight_ih [4H, I], weight_hh [4H, H], two biases [4H] or none; gates i, f, g, o.
LstmWeights torch_lstm(rein::Value weight_ih, rein::Value weight_hh,
                       std::optional<rein::Value> bias_ih, std::optional<rein::Value> bias_hh);

}  // namespace golden
