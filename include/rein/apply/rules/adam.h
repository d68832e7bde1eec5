// Adam and AdamW.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// What Adam and AdamW remember.
struct AdamState {
  struct Correction {
    double rate = 0;           // learning rate with bias correction
    double root_factor = 1;    // of sqrt(v)
    double square_factor = 1;  // of v, under the root
  };
  StepCount count;
  double power1 = 1, power2 = 1;  // beta1^steps and beta2^steps, in the forms that count steps

  DType dtype = DType::float32;  // to which settings are rounded before they are used
  double beta1 = 0, beta2 = 0;
  double rate = 0, new1 = 0;            // of this step; new1: weight of the gradient in m
  std::vector<Correction> corrections;  // per variable, of this step
  Slot m, v, v_max;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("count", self.count);
    f("power1", self.power1);
    f("power2", self.power2);
    f("m", self.m);
    f("v", self.v);
    f("v_max", self.v_max);
  }
};

/// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and the step of its form (Kingma,
/// Ba: "Adam", 2015), b1 and b2 being beta1^t and beta2^t:
///  - tensorflow: w -= lr sqrt(1 - b2) / (1 - b1) m / (sqrt(v) + epsilon), t the number of steps;
///    the powers are multiplied up in the type of the variables (tf.train.AdamOptimizer);
///  - keras: the same formula (its default epsilon is 1e-7);
///  - pytorch, optax: w -= lr / (1 - b1) m / (sqrt(v) / sqrt(1 - b2) + epsilon), t counted for each
///    variable: it rests while the gradient is absent. Optax has epsilon_root too:
///    sqrt(v / (1 - b2) + epsilon_root).
/// `amsgrad` puts the largest v so far in the place of v (Reddi, Kale, Kumar: "On the convergence
/// of Adam and beyond", 2018); in Optax's form the largest v / (1 - b2). `beta1` may follow the
/// step (OneCycleMomentum); b1 is then what it would be had it always been so, but in TensorFlow's
/// form the product. Weight decay is coupled in Adam and decoupled in AdamW, whose default is
/// PyTorch's (Keras has 0.004, Optax 1e-4). Sparse: as the dense gradient, m and v decay
/// everywhere, as in TensorFlow. With `sparse = SparseUpdate::rows` only the rows that are there
/// move and decay (tf.contrib.opt.LazyAdamOptimizer, torch.optim.SparseAdam).
template <bool kDecoupled>
struct BasicAdam {
  static constexpr std::string_view name = kDecoupled ? "AdamW" : "Adam";
  Schedule learning_rate = 1e-3;
  Schedule beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = kDecoupled ? 0.01 : 0;
  bool amsgrad = false;
  double epsilon_root = 0;  // of Optax's form
  RuleForm form = kDecoupled ? RuleForm::pytorch : RuleForm::tensorflow;
  std::optional<SparseUpdate> sparse = {};

  using State = AdamState;
  SparseUpdate sparse_update() const { return sparse.value_or(SparseUpdate::dense); }
  State init(const Variables& variables) const;
  void prepare(State& state) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  template <class T>
  bool update(std::span<T> gradient, double scale, T* parameters, State& state,
              BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("weight_decay", self.weight_decay);
    f("amsgrad", self.amsgrad);
    f("epsilon_root", self.epsilon_root);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};
using Adam = BasicAdam<false>;
using AdamW = BasicAdam<true>;

}  // namespace rein
