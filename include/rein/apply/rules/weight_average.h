// Averages of the weights beside a rule that moves them.
#pragma once

#include "rein/apply/rule.h"

namespace rein {

/// How much of the present weights an average takes in at its n-th update, n from 1.
enum class Averaging : uint8_t {
  exponential,   // 1 - decay, and all of them at the first (Keras' use_ema, torch.optim.swa_utils)
  from_initial,  // 1 - decay, beginning with the weights before its first update
                 // (tf.train.ExponentialMovingAverage)
  warming,       // the same with min(decay, (1 + n) / (10 + n)) as decay (its `num_updates`)
  corrected,  // (1 - decay) / (1 - decay^n): begins with 0 and takes that out again, as Adam does
  equal       // 1 / n: stochastic weight averaging (Izmailov et al., 2018; swa_utils)
};
std::string_view to_string(Averaging averaging);

/// Moves the parameters w by `rule` and keeps an average a of them, to evaluate with or to save:
///
///     a += share (w - a)   after the steps first, first + every, first + 2 every, ...
///
/// of which those that a transform skipped are none. Before step `first` the average is the
/// parameters. With `overwrite_every` = k, parameters become their average after every k-th step
/// (Keras' ema_overwrite_frequency).
///
///     Step train = record(cost, vars, chain(), WeightAverage{.rule = Adam{}, .decay = 0.99});
///     train.with_averages([&] { evaluate(); });
///
/// Throws InvalidArgument, as all rules around others, for ScheduleFreeAdamW inside.
struct WeightAverage {
  static constexpr std::string_view name = "WeightAverage";
  AnyRule rule;
  Averaging averaging = Averaging::exponential;
  double decay = 0.999;  // in [0, 1); `equal` makes no use of it
  int64_t first = 1, every = 1;
  int64_t overwrite_every = 0;  // 0: never

  struct State {
    AnyRule::State rule;
    int64_t steps = 0;
    Slot average;  // "average"
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("rule", self.rule);
      f("steps", self.steps);
      f("average", self.average);
    }
  };
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients&) const { ++state.steps; }
  void take_back(State& state) const { --state.steps; }
  void before(State& state, const Variables& variables) const;
  template <class T>
  void after(State& state, std::span<T> parameters, ThreadTeam& team) const;
  Tensor average(const State& state, const Variable& variable) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rule", self.rule);
    f("averaging", self.averaging);
    f("decay", self.decay);
    f("first", self.first);
    f("every", self.every);
    f("overwrite_every", self.overwrite_every);
  }
};

/// Moves the parameters by `rule`, and after every `sync_period` steps takes back a part of the
/// way: slow += slow_step_size (w - slow), then w = slow. `slow` begins as the parameters before
/// the first step, and is what to evaluate with. With `reset_state` the rule then forgets all that
/// it remembers, its steps included, for one more copy of it in memory. Zhang et al.: "Lookahead
/// optimizer: k steps forward, 1 step back", 2019; optax.lookahead.
struct Lookahead {
  static constexpr std::string_view name = "Lookahead";
  AnyRule rule;
  int64_t sync_period = 6;
  double slow_step_size = 0.5;  // in [0, 1]
  bool reset_state = false;

  struct State {
    AnyRule::State rule;
    int64_t steps = 0;
    Slot slow;     // "slow"
    Packed fresh;  // what the rule remembers before its first step
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("rule", self.rule);
      f("steps", self.steps);
      f("slow", self.slow);
    }
  };
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients&) const { ++state.steps; }
  void take_back(State& state) const { --state.steps; }
  void before(State& state, const Variables& variables) const;
  template <class T>
  void after(State& state, std::span<T> parameters, ThreadTeam& team) const;
  Tensor average(const State& state, const Variable& variable) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rule", self.rule);
    f("sync_period", self.sync_period);
    f("slow_step_size", self.slow_step_size);
    f("reset_state", self.reset_state);
  }
};

}  // namespace rein
