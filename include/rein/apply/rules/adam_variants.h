// Rules that change one thing about Adam.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// Adam with the largest gradient in place of the mean square (Kingma, Ba: "Adam", 2015, section
/// 7): m = beta1 m + (1 - beta1) g and, with b1 = beta1^t,
///  - keras: u = max(beta2 u, |g|), w -= lr / (1 - b1) m / (u + epsilon), t the number of steps;
///  - pytorch, optax: u = max(beta2 u, |g| + epsilon), w -= lr / (1 - b1) m / u, t counted for each
///    variable.
/// Sparse: as the dense gradient.
struct Adamax {
  static constexpr std::string_view name = "Adamax";
  Schedule learning_rate = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::pytorch;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    std::vector<double> rates;  // per variable, with bias correction
    Slot m, u;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("m", self.m);
      f("u", self.u);
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
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

/// Adam with Nesterov's momentum (Dozat: "Incorporating Nesterov momentum into Adam", 2016). m and
/// v as Adam's, b2 = beta2^t, M(t) = mu(1) ... mu(t), and
///
///     w -= lr (mu(t+1) / (1 - M(t+1)) m + (1 - mu(t)) / (1 - M(t)) g)
///          / (sqrt(v / (1 - b2)) + epsilon)
///
///  - keras: mu(t) = beta1 (1 - 0.96^t / 2), t the number of steps;
///  - pytorch: mu(t) = beta1 (1 - 0.96^(momentum_decay t) / 2), t counted for each variable;
///  - optax: mu(t) = beta1;
///  - tensorflow: w -= lr sqrt(1 - b2) / (1 - b1) (beta1 m + (1 - beta1) g) / (sqrt(v) + epsilon),
///    the Adam kernel's use_nesterov.
/// Sparse: as the dense gradient.
struct Nadam {
  static constexpr std::string_view name = "Nadam";
  Schedule learning_rate = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum_decay = 4e-3;  // of PyTorch's form
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::pytorch;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    struct Weights {
      double of_m = 0, of_g = 0;  // learning rate and bias correction included
      double root_factor = 1;     // of sqrt(v)
    };
    StepCount count;
    std::vector<double> mu_products;  // M(t), per variable
    double rate = 0;
    std::vector<Weights> weights;  // per variable, of this step
    Slot m, v;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("mu_products", self.mu_products);
      f("m", self.m);
      f("v", self.v);
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
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("momentum_decay", self.momentum_decay);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

/// Adam that leaves out the division by sqrt(v) while v has seen too few gradients (Liu et al.: "On
/// the variance of the adaptive learning rate and beyond", 2020). m and v as Adam's, b1 = beta1^t,
/// b2 = beta2^t, r_inf = 2 / (1 - beta2) - 1, r = r_inf - 2 t b2 / (1 - b2); where r > 5
///
///     w -= lr R m / (1 - b1) sqrt(1 - b2) / (sqrt(v) + epsilon),
///     R = sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r))
///
/// and else w -= lr m / (1 - b1).
///  - pytorch: as written, t counted for each variable;
///  - optax: sqrt(v / (1 - b2)) + epsilon under the line, and from r = 5 on.
/// Sparse: as the dense gradient.
struct RAdam {
  static constexpr std::string_view name = "RAdam";
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  Decay decay = Decay::coupled;
  RuleForm form = RuleForm::pytorch;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    struct Weights {
      double of_m = 0;         // learning rate and corrections included
      double root_factor = 1;  // of sqrt(v)
      bool adaptive = false;   // whether to divide
    };
    StepCount count;
    double rate = 0;
    std::vector<Weights> weights;  // per variable, of this step
    Slot m, v;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("m", self.m);
      f("v", self.v);
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
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("weight_decay", self.weight_decay);
    f("decay", self.decay);
    f("form", self.form);
    f("sparse", self.sparse);
  }
};

}  // namespace rein
