// Rules whose step is as long as the weights of the variable allow: LAMB, LARS. Sparse gradients
// are taken as dense ones.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// Adam's step u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), brought to the length
/// of the weights (You et al.: "Large batch optimization for deep learning", 2020); the ratio is 1
/// where |w| or |u| is 0:
///  - optax: u += weight_decay w, then w -= lr |w| / |u| u, t counted for each variable (the paper;
///    its default epsilon is 1e-6);
///  - keras: w -= lr weight_decay w, then w -= lr |w| / |u| u, t the number of steps (its default
///    epsilon is 1e-7).
struct Lamb {
  static constexpr std::string_view name = "Lamb";
  static constexpr bool whole_variable = true;
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-6;
  double weight_decay = 0;
  RuleForm form = RuleForm::optax;

  struct State {
    StepCount count;
    double rate = 0;
    std::vector<double> parts;  // of sums of squares
    Slot m, v;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("m", self.m);
      f("v", self.v);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::dense; }
  State init(const Variables& variables) const;
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
    f("form", self.form);
  }
};

/// Momentum with a learning rate for each variable (You, Gitman, Ginsburg: "Large batch training of
/// convolutional networks", 2017). With r = g + weight_decay w; the ratio q is 1 where |w| or the
/// norm under it is 0:
///  - tensorflow: q = trust_coefficient |w| / (|g| + weight_decay |w| + epsilon);
///    a = momentum a + r, w -= lr q a, with Nesterov w -= lr q (r + momentum a) (the paper's ratio;
///    tf.contrib.opt.LARSOptimizer);
///  - optax: q = trust_coefficient |w| / (|r| + epsilon); a = momentum a - lr q r, w += a, with
///    Nesterov w += momentum a - lr q r (lars).
struct Lars {
  static constexpr std::string_view name = "Lars";
  static constexpr bool whole_variable = true;
  Schedule learning_rate = 1;
  double momentum = 0.9;
  bool use_nesterov = false;
  double weight_decay = 0;
  double trust_coefficient = 1e-3;
  double epsilon = 0;
  RuleForm form = RuleForm::tensorflow;

  struct State {
    StepCount count;
    double rate = 0;
    std::vector<double> parts;  // of sums of squares
    Slot velocity;              // "momentum"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("velocity", self.velocity);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::dense; }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  template <class T>
  bool update(std::span<T> gradient, double scale, T* parameters, State& state,
              BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("momentum", self.momentum);
    f("use_nesterov", self.use_nesterov);
    f("weight_decay", self.weight_decay);
    f("trust_coefficient", self.trust_coefficient);
    f("epsilon", self.epsilon);
    f("form", self.form);
  }
};

}  // namespace rein
