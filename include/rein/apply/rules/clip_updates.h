// Clips of what a rule wants to add, instead of what it is given.
#pragma once

#include "rein/apply/rule.h"
#include "rein/process/transform.h"

namespace rein {

/// Moves the parameters by clip(d), d the deltas of `rule` for all variables: its learning rate,
/// momentum and decoupled weight decay are in them. Any transform will do:
///
///     ClipUpdates{.rule = Adam{}, .clip = ClipByBlockRms{.threshold = 0.01}}
///     ClipUpdates{.rule = GradientDescent{}, .clip = MaxChange{.per_variable = 0.75, .global = 2}}
///
/// The first is optax.chain(adam(..), clip_by_block_rms(..)) (Adafactor limits its update by the
/// same formula, before the learning rate), the second Kaldi's UpdateNnetWithMaxChange. What the
/// rule remembers knows nothing of the clip. Limits that follow the step count the steps of the
/// rule. A transform that asks to skip leaves the parameters alone, and StepInfo says so, though
/// the rule has counted (and a Rollback took it for a fine step); one that throws does so before
/// they change, but after the rule has counted. Sparse gradients: a rule that moves their rows
/// alone gives deltas that are those rows. Two more passes over memory, no memory of its own.
struct ClipUpdates {
  static constexpr std::string_view name = "ClipUpdates";
  AnyRule rule;
  AnyTransform clip;

  struct State {
    AnyRule::State rule;
    AnyTransform::State clip;
    int64_t steps = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("rule", self.rule);
      f("clip", self.clip);
      f("steps", self.steps);
    }
  };
  /// Throws InvalidArgument for a rule that moves parameters other than by deltas: WeightAverage
  /// and Lookahead go around this one, and ScheduleFreeAdamW alone.
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients&) const { ++state.steps; }
  void deltas(Gradients& all, State& state, const Variables& variables, StepInfo& info) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rule", self.rule);
    f("clip", self.clip);
  }
};

}  // namespace rein
