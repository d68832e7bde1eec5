// AdamW without a schedule: an average of the weights takes its place.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// Defazio et al.: "The road less scheduled", 2024. While training the parameters y stand between
/// the fast weights z and their average x, y = (1 - beta1) z + beta1 x. With v as Adam's:
///
///     u = g / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay y
///     c = t^average_power lr_max^rate_power / (sum of these up to t)
///     y += c (z - y) - lr (1 - beta1 (1 - c)) u, then z -= lr u
///
/// lr_max is the largest learning rate so far; warm up with a schedule, and never decay it. To
/// evaluate or to save, take the average: `average`. WeightAverage, Lookahead and ClipUpdates
/// refuse to go around it. t is the number of steps. Sparse: as the dense gradient.
struct ScheduleFreeAdamW {
  static constexpr std::string_view name = "ScheduleFreeAdamW";
  static constexpr bool moves_alone = true;
  Schedule learning_rate = 2.5e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double average_power = 0;
  double rate_power = 2;

  struct State {
    StepCount count;
    double largest_rate = 0, weight_sum = 0;
    double rate = 0, share = 0;  // share: c
    double root_factor = 1;      // of sqrt(v)
    Slot z, v;                   // z is there from a variable's first gradient on
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("largest_rate", self.largest_rate);
      f("weight_sum", self.weight_sum);
      f("z", self.z);
      f("v", self.v);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::dense; }
  /// Throws InvalidArgument for beta1 = 0 too.
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  /// x: the weights to evaluate with.
  Tensor average(const State& state, const Variable& variable, Where where = Where::here()) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("beta1", self.beta1);
    f("beta2", self.beta2);
    f("epsilon", self.epsilon);
    f("weight_decay", self.weight_decay);
    f("average_power", self.average_power);
    f("rate_power", self.rate_power);
  }
};

}  // namespace rein
