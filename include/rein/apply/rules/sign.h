// Rules that go by the signs of gradients: Lion, Rprop.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// w -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay w), then m = beta2 m + (1 - beta2) g (Chen
/// et al.: "Symbolic discovery of optimization algorithms", 2023; Keras, Optax). The sign of 0 is
/// 0, of NaN NaN. Sparse: as the dense gradient.
struct Lion {
  static constexpr std::string_view name = "Lion";
  Schedule learning_rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.99;
  double weight_decay = 0;  // decoupled
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    double rate = 0;
    Slot m;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("m", self.m);
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
    f("weight_decay", self.weight_decay);
    f("sparse", self.sparse);
  }
};

/// Every weight has a step of its own, that grows by `increase` while the gradient keeps its sign
/// and shrinks by `decrease` when it changes; then the weight also waits for one step (Riedmiller,
/// Braun: "A direct adaptive method for faster backpropagation learning", 1993; torch.optim.Rprop,
/// without weight backtracking). For gradients of whole data sets: noise changes signs. There is no
/// learning rate: PyTorch's is the first step of every weight, `initial_step`, and nothing that
/// changes it later has an effect. Sparse: as the dense gradient.
struct Rprop {
  static constexpr std::string_view name = "Rprop";
  double initial_step = 0.01;
  double decrease = 0.5, increase = 1.2;
  double min_step = 1e-6, max_step = 50;
  std::optional<SparseUpdate> sparse = {};

  struct State {
    StepCount count;
    Slot previous;  // "previous": the gradient, 0 where it changed its sign
    Slot step;      // "step"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("previous", self.previous);
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
    f("initial_step", self.initial_step);
    f("decrease", self.decrease);
    f("increase", self.increase);
    f("min_step", self.min_step);
    f("max_step", self.max_step);
    f("sparse", self.sparse);
  }
};

}  // namespace rein
