// Transforms of some of the steps.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

#include "rein/process/transform.h"

namespace rein {

/// Whether a transform runs this time: a function of the number of times that it was asked before
/// (optax's should_transform_fn), of what is known of the step, or of both.
///
///     [](int64_t before) { return before % 2 == 0; }
///     [](const StepInfo& info) { return info.loss < 10; }
class Condition {
 public:
  template <class F>
  requires std::predicate<const F&, int64_t> Condition(F f)
      : holds_([f = std::move(f)](int64_t before, const StepInfo&) { return f(before); }) {}
  template <class F>
  requires std::predicate<const F&, const StepInfo&> Condition(F f)
      : holds_([f = std::move(f)](int64_t, const StepInfo& info) { return f(info); }) {}
  template <class F>
  requires std::predicate<const F&, int64_t, const StepInfo&> Condition(F f)
      : holds_(std::move(f)) {}

  bool operator()(int64_t before, const StepInfo& info) const { return holds_(before, info); }

 private:
  std::function<bool(int64_t, const StepInfo&)> holds_;
};

/// Any transform, run where a condition holds; elsewhere what it remembers stays as it is, and
/// gradients pass as they are, or as zeros. The condition is part of no file.
struct Conditional {
  static constexpr std::string_view name = "Conditional";
  AnyTransform transform;
  Condition condition;
  bool mask = false;  // zeros

  struct State {
    int64_t before = 0;  // times that it was asked, in steps that were not skipped
    bool ran = false;    // in this step
    AnyTransform::State transform;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("before", self.before);
      f("transform", self.transform);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("transform", self.transform);
    f("mask", self.mask);
  }
};

/// Elsewhere gradients pass as they are (optax.conditionally_transform):
///
///     // no clip for the first 100 steps
///     conditionally_transform(ClipByGlobalNorm{.clip_norm = 1},
///                             [](int64_t before) { return before >= 100; })
inline Conditional conditionally_transform(AnyTransform inner, Condition condition) {
  return {std::move(inner), std::move(condition), false};
}

/// Elsewhere every gradient is 0, even of NaN; absent ones stay absent, sparse ones keep their rows
/// (optax.conditionally_mask). The rule runs all the same: momentum goes on. Around the updates,
/// ClipUpdates{.clip = conditionally_mask(..)} lets nothing move; a function that sets info.skip
/// leaves alone what the rule remembers too.
inline Conditional conditionally_mask(AnyTransform inner, Condition condition) {
  return {std::move(inner), std::move(condition), true};
}

}  // namespace rein
