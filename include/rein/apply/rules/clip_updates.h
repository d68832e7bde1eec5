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
/// rule. A transform that asks to skip, or throws, leaves everything as it was; StepInfo tells of a
/// skip, and for a Rollback the step was bad. Sparse gradients: a rule that moves their rows alone
/// gives deltas that are those rows. Two more passes over memory; and a copy of what the rule
/// remembers, in every step, if the clip may refuse one (AnyTransform::may_refuse: CheckFinite,
/// functions of your own, limits that are no plain numbers and norms of several ranks do).
struct ClipUpdates {
  static constexpr std::string_view name = "ClipUpdates";
  AnyRule rule;
  AnyTransform clip;

  struct State {
    AnyRule::State rule;
    AnyTransform::State clip;
    int64_t steps = 0;
    bool may_refuse = false;  // the clip
    Packed before;            // of the rule, in a step that may be refused
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("rule", self.rule);
      f("clip", self.clip);
      f("steps", self.steps);
    }
  };
  /// Throws InvalidArgument for a rule that moves parameters other than by deltas: WeightAverage
  /// and Lookahead go around this one, and ScheduleFreeAdamW alone; and, if the clip may refuse a
  /// step, for one that does not list what it remembers.
  State init(const Variables& variables) const;
  void prepare(State& state, const Gradients& gradients) const;
  void begin(State& state, const Gradients&) const { ++state.steps; }
  void deltas(Gradients& all, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const { clip.remember(state.clip); }
  void take_back(State& state) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rule", self.rule);
    f("clip", self.clip);
  }
};

}  // namespace rein
