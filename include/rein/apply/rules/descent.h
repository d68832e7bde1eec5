// Gradient descent, plain and with momentum.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// w -= learning_rate (g + weight_decay w). Sparse: rows that are there, or as `sparse` says.
struct GradientDescent {
  static constexpr std::string_view name = "GradientDescent";
  Schedule learning_rate = 0.01;
  double weight_decay = 0;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
    }
  };
  SparseUpdate sparse_update() const { return sparse.value_or(SparseUpdate::rows); }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("weight_decay", self.weight_decay);
    f("sparse", self.sparse);
  }
};

/// Gradient descent with momentum. Forms:
///  - tensorflow: a = momentum a + g; w -= lr a, with Nesterov w -= lr (g + momentum a)
///    (tf.train.MomentumOptimizer; optax.sgd);
///  - keras: a = momentum a - lr g; w += a, with Nesterov w += momentum a - lr g (SGD). The same
///    path as TensorFlow's while the rate is constant;
///  - pytorch: a = momentum a + (1 - dampening) g, but a = g at a variable's first gradient; then
///    as TensorFlow's (SGD).
/// `momentum` may follow the step (OneCycleMomentum). Sparse: rows that are there in TensorFlow's
/// form, else as the dense gradient.
struct Momentum {
  static constexpr std::string_view name = "Momentum";
  Schedule learning_rate = 0.01;
  Schedule momentum = 0.9;
  bool use_nesterov = false;
  double dampening = 0;  // of the PyTorch form; not with Nesterov
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::tensorflow;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0, momentum = 0;  // of this step
    Slot accumulator;               // "momentum"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("momentum", self.accumulator);
    }
  };
  SparseUpdate sparse_update() const {
    return sparse.value_or(form == RuleForm::tensorflow ? SparseUpdate::rows : SparseUpdate::dense);
  }
  State init(const Variables& variables) const;
  void prepare(State& state) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("momentum", self.momentum);
    f("use_nesterov", self.use_nesterov);
    f("dampening", self.dampening);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

}  // namespace rein
