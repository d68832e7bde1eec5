// Follow the regularized leader.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// FTRL-proximal, which sets weights to exactly 0 (McMahan et al.: "Ad click prediction: a view
/// from the trenches", 2013; tf.train.FtrlOptimizer, keras Ftrl). With p = -learning_rate_power:
///
///     n' = n + g^2,  z += g + 2 l2_shrinkage w - (n'^p - n^p) / lr w,  n = n'
///     w = 0 where |z| <= l1, else (sign(z) l1 - z) / ((beta + n^p) / lr + 2 l2)
///
/// `beta` is Keras's (TensorFlow has 0). The learning rate must not be 0.
/// Sparse: rows that are there.
struct Ftrl {
  static constexpr std::string_view name = "Ftrl";
  Schedule learning_rate = 1e-3;
  double learning_rate_power = -0.5;
  double initial_accumulator = 0.1;
  double l1 = 0, l2 = 0, l2_shrinkage = 0;
  double beta = 0;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    Slot accumulator;  // "accumulator", n
    Slot linear;       // "linear", z
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("accumulator", self.accumulator);
      f("linear", self.linear);
    }
  };
  SparseUpdate sparse_update() const { return sparse.value_or(SparseUpdate::rows); }
  /// Throws InvalidArgument for a positive learning_rate_power too.
  State init(const Variables& variables) const;
  void prepare(State& state) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("learning_rate_power", self.learning_rate_power);
    f("initial_accumulator", self.initial_accumulator);
    f("l1", self.l1);
    f("l2", self.l2);
    f("l2_shrinkage", self.l2_shrinkage);
    f("beta", self.beta);
    f("sparse", self.sparse);
  }
};

}  // namespace rein
