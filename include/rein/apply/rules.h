// The update rules. Settings are decimals of their reference; TensorFlow and Keras round them to
// float32 before use, and so do their forms here.
#pragma once

#include "rein/apply/rule.h"

namespace rein {

/// w -= learning_rate g
struct GradientDescent {
  static constexpr std::string_view name = "GradientDescent";
  static constexpr SparseUpdate sparse_update = SparseUpdate::rows;
  Schedule learning_rate = 0.01;

  struct State {
    int64_t step = 0;
    double rate = 0;
  };
  State init(const Variables& variables) const;
  void begin(State& state) const;
  void delta(std::span<float> d, State& state, size_t offset) const;
  void delta(std::span<double> d, State& state, size_t offset) const;
  std::vector<Slot*> slots(State& state) const;
};

/// a = momentum a + g; w -= learning_rate a, or with Nesterov's momentum
/// w -= learning_rate (g + momentum a) (tf.train.MomentumOptimizer). Sparse: only rows that are
/// there move, as in TensorFlow.
struct Momentum {
  static constexpr std::string_view name = "Momentum";
  static constexpr SparseUpdate sparse_update = SparseUpdate::rows;
  Schedule learning_rate = 0.01;
  double momentum = 0.9;
  bool use_nesterov = false;

  struct State {
    int64_t step = 0;
    double rate = 0;
    Slot accumulator;  // "momentum"
  };
  State init(const Variables& variables) const;
  void begin(State& state) const;
  void delta(std::span<float> d, State& state, size_t offset) const;
  void delta(std::span<double> d, State& state, size_t offset) const;
  std::vector<Slot*> slots(State& state) const;
};

/// Where Adam's epsilon sits, and how settings are rounded.
enum class AdamForm : uint8_t {
  tensorflow,  // w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon); epsilon 1e-8
  keras,       // the same formula; its default epsilon is 1e-7
  pytorch      // w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)
};

/// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and the step of its form (Kingma,
/// Ba: "Adam", 2015). Sparse: m and v decay everywhere, as in TensorFlow.
struct Adam {
  static constexpr std::string_view name = "Adam";
  static constexpr SparseUpdate sparse_update = SparseUpdate::dense;
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  AdamForm form = AdamForm::tensorflow;

  struct State {
    int64_t step = 0;
    double rate = 0;    // learning rate with bias correction
    double root_v = 1;  // PyTorch's form divides sqrt(v) by this
    Slot m, v;
  };
  State init(const Variables& variables) const;
  void begin(State& state) const;
  void delta(std::span<float> d, State& state, size_t offset) const;
  void delta(std::span<double> d, State& state, size_t offset) const;
  std::vector<Slot*> slots(State& state) const;
};

}  // namespace rein
