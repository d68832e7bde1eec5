// The update rules. Settings are decimals, rounded to the type of the variables where they are
// used. A negative or NaN learning rate, decays outside [0, 1) and a negative epsilon throw
// InvalidArgument.
#pragma once

#include "rein/apply/rule.h"

namespace rein {

/// w -= learning_rate g
struct GradientDescent {
  static constexpr std::string_view name = "GradientDescent";
  Schedule learning_rate = 0.01;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
  }

  struct State {
    int64_t step = 0;
    double rate = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("step", self.step);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::rows; }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  void delta(std::span<float> d, State& state, BlockPlace place) const;
  void delta(std::span<double> d, State& state, BlockPlace place) const;
};

/// What is remembered, where the learning rate stands, and what a sparse gradient does.
enum class MomentumForm : uint8_t {
  /// a = momentum a + g; w -= lr a, with Nesterov w -= lr (g + momentum a). Sparse: rows that are
  /// there (tf.train.MomentumOptimizer).
  tensorflow,
  /// a = momentum a - lr g; w += a, with Nesterov w += momentum a - lr g (keras SGD). The same path
  /// as TensorFlow's while the rate is constant.
  keras,
  /// a = momentum a + (1 - dampening) g, but a = g at a variable's first gradient; then as
  /// TensorFlow's (torch.optim.SGD).
  pytorch
};

/// Gradient descent with momentum. Sparse in the Keras and PyTorch forms: as the dense gradient.
struct Momentum {
  static constexpr std::string_view name = "Momentum";
  Schedule learning_rate = 0.01;
  double momentum = 0.9;
  bool use_nesterov = false;
  double dampening = 0;  // of the PyTorch form; not with Nesterov
  MomentumForm form = MomentumForm::tensorflow;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("momentum", self.momentum);
    f("use_nesterov", self.use_nesterov);
    f("dampening", self.dampening);
    f("form", self.form);
  }

  struct State {
    int64_t step = 0;
    double rate = 0;
    std::vector<char> met;  // per variable: 0 never had a gradient, 1 has its first, 2 had one
    Slot accumulator;       // "momentum"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("step", self.step);
      f("met", self.met);
      f("momentum", self.accumulator);
    }
  };
  SparseUpdate sparse_update() const {
    return form == MomentumForm::tensorflow ? SparseUpdate::rows : SparseUpdate::dense;
  }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  void delta(std::span<float> d, State& state, BlockPlace place) const;
  void delta(std::span<double> d, State& state, BlockPlace place) const;
};

/// Where Adam's epsilon sits, and what t counts.
enum class AdamForm : uint8_t {
  /// w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon), t the number of steps; the powers
  /// are multiplied up in the type of the variables (tf.train.AdamOptimizer).
  tensorflow,
  /// The same formula (keras Adam; its default epsilon is 1e-7).
  keras,
  /// w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon), t counted for each variable: it
  /// rests while the gradient is absent (torch.optim.Adam).
  pytorch
};

/// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and the step of its form (Kingma,
/// Ba: "Adam", 2015). Sparse: as the dense gradient, m and v decay everywhere, as in TensorFlow.
struct Adam {
  static constexpr std::string_view name = "Adam";
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  AdamForm form = AdamForm::tensorflow;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("form", self.form);
  }

  struct State {
    struct Correction {
      double rate = 0;         // learning rate with bias correction
      double root_factor = 1;  // of sqrt(v)
    };
    int64_t step = 0;
    DType dtype = DType::float32;  // to which settings are rounded before they are used
    double beta1 = 0, beta2 = 0;
    double power1 = 1, power2 = 1;        // beta1^step and beta2^step, but in PyTorch's form
    std::vector<int64_t> counts;          // per variable: how many gradients it has had
    std::vector<Correction> corrections;  // per variable, of this step
    Slot m, v;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("step", self.step);
      f("power1", self.power1);
      f("power2", self.power2);
      f("counts", self.counts);
      f("m", self.m);
      f("v", self.v);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::dense; }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  void delta(std::span<float> d, State& state, BlockPlace place) const;
  void delta(std::span<double> d, State& state, BlockPlace place) const;
};

}  // namespace rein
