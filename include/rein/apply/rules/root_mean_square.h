// Rules that divide by the size of past gradients: RMSProp, Adagrad, Adadelta.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// s = rho s + (1 - rho) g^2 and a step of g / sqrt(s) (Tieleman, Hinton: lecture 6.5, 2012);
/// `centered` takes (mean of g)^2 from s under the root (Graves: "Generating sequences with
/// recurrent neural networks", 2013). With u the quotient:
///  - tensorflow: s starts at 1; u = g / sqrt(s + epsilon); a = momentum a + lr u, w -= a
///    (tf.train.RMSPropOptimizer);
///  - keras: the same, but s starts at 0 (RMSprop; its default epsilon is 1e-7);
///  - pytorch: s starts at 0; u = g / (sqrt(s) + epsilon); a = momentum a + u, w -= lr a (RMSprop;
///    its defaults are rho 0.99, epsilon 1e-8);
///  - optax: s starts at 0; u as in TensorFlow, or as in PyTorch with `epsilon_in_root` false;
///    a = momentum a - lr u, w += a, or momentum a - lr u with `use_nesterov` (rmsprop; its default
///    epsilon is 1e-8).
/// Rounding may make s - mean^2 + epsilon negative, and then a step NaN, as there.
/// Sparse: rows that are there in TensorFlow's form, else as the dense gradient.
struct RMSProp {
  static constexpr std::string_view name = "RMSProp";
  Schedule learning_rate = 1e-3;
  double rho = 0.9;
  double momentum = 0;
  bool use_nesterov = false;  // of Optax's form
  double epsilon = 1e-10;
  bool centered = false;
  bool epsilon_in_root = true;  // of Optax's form
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::tensorflow;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    Slot square;    // "rms"
    Slot mean;      // "mean", if centered
    Slot velocity;  // "momentum", with momentum
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("square", self.square);
      f("mean", self.mean);
      f("velocity", self.velocity);
    }
  };
  SparseUpdate sparse_update() const {
    return sparse.value_or(form == RuleForm::tensorflow ? SparseUpdate::rows : SparseUpdate::dense);
  }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("rho", self.rho);
    f("momentum", self.momentum);
    f("use_nesterov", self.use_nesterov);
    f("epsilon", self.epsilon);
    f("centered", self.centered);
    f("epsilon_in_root", self.epsilon_in_root);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

/// s = s + g^2 (Duchi, Hazan, Singer: "Adaptive subgradient methods", 2011), s starts at
/// initial_accumulator:
///  - tensorflow: w -= lr g / sqrt(s): no epsilon, so 0 / 0 is NaN where s is 0;
///  - keras: w -= lr g / sqrt(s + epsilon) (its default epsilon is 1e-7);
///  - pytorch: w -= lr / (1 + (t - 1) rate_decay) g / (sqrt(s) + epsilon), t counted for each
///    variable (its defaults are initial_accumulator 0, epsilon 1e-10);
///  - optax: as Keras, but no step where s is 0.
/// Sparse: rows that are there in TensorFlow's and PyTorch's forms, else as the dense gradient.
struct Adagrad {
  static constexpr std::string_view name = "Adagrad";
  Schedule learning_rate = 0.01;
  double initial_accumulator = 0.1;
  double epsilon = 1e-7;
  double rate_decay = 0;  // of PyTorch's form
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::tensorflow;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    Slot accumulator;  // "accumulator"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("accumulator", self.accumulator);
    }
  };
  SparseUpdate sparse_update() const {
    const bool by_rows = form == RuleForm::tensorflow || form == RuleForm::pytorch;
    return sparse.value_or(by_rows ? SparseUpdate::rows : SparseUpdate::dense);
  }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("initial_accumulator", self.initial_accumulator);
    f("epsilon", self.epsilon);
    f("rate_decay", self.rate_decay);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

/// s = rho s + (1 - rho) g^2, u = sqrt(a + epsilon) / sqrt(s + epsilon) g,
/// a = rho a + (1 - rho) u^2, w -= lr u (Zeiler: "ADADELTA", 2012). One formula everywhere; the
/// defaults are PyTorch's (TensorFlow: 0.001, 0.95, 1e-8; Keras: 0.001, 0.95, 1e-7).
/// Sparse: as the dense gradient; TensorFlow moves rows that are there: `sparse`.
struct Adadelta {
  static constexpr std::string_view name = "Adadelta";
  Schedule learning_rate = 1;
  double rho = 0.9;
  double epsilon = 1e-6;
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    Slot square;  // "square", of gradients
    Slot step;    // "step", the mean square of u
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("square", self.square);
      f("step", self.step);
    }
  };
  SparseUpdate sparse_update() const { return sparse.value_or(SparseUpdate::dense); }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("rho", self.rho);
    f("epsilon", self.epsilon);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("sparse", self.sparse);
  }
};

}  // namespace rein
