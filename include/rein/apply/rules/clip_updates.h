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
/// rule. A transform that asks to skip leaves the parameters alone; one that throws does so before
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
  SparseUpdate sparse_update(State& state, size_t variable) const {
    return rule.sparse_update(state.rule, variable);
  }
  bool whole_variable(State& state, size_t variable) const {
    return rule.whole_variable(state.rule, variable);
  }
  /// Throws InvalidArgument for a rule that moves parameters other than by deltas: WeightAverage
  /// and Lookahead go around this one.
  State init(const Variables& variables) const;
  void check(State& state) const { rule.check(state.rule); }
  void begin(State& state, const Gradients& gradients) const;
  void before(State& state, const Variables& variables) const {
    rule.before(state.rule, variables);
  }
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const {
    rule.delta(d, state.rule, place);
  }
  void deltas(Gradients& all, State& state, const Variables& variables, StepInfo& info) const;
  Tensor average(State& state, const Variable& variable) const {
    return rule.average(state.rule, variable);
  }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rule", self.rule);
    f("clip", self.clip);
  }
};

}  // namespace rein
