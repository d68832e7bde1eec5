// The front with TensorFlow's names: compute the gradients, do with them what you like, apply them.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rein/apply/apply.h"
#include "rein/apply/rules.h"
#include "rein/compute/tape.h"
#include "rein/process/clip.h"

namespace rein {

struct GradAndVar {
  Gradient grad;  // may be absent
  Variable var;
};
using GradsAndVars = std::vector<GradAndVar>;

/// Pairs gradients with variables in their order. Throws InvalidArgument if the numbers differ.
GradsAndVars zip(std::span<const Gradient> gradients, Variables& variables,
                 Where where = Where::here());

/// tf.train.Optimizer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// The gradients of the loss, which must be on a tape: one pair for each variable of `variables`,
  /// or each that the tape has read, absent ones included.
  GradsAndVars compute_gradients(Value loss, Variables& variables,
                                 Where where = Where::here()) const;
  GradsAndVars compute_gradients(Value loss, Where where = Where::here()) const;

  /// Updates the variables; those whose gradient is absent, or that are not in the list, stay.
  /// Returns whether it did: not if a transform on the way asks to skip the step.
  /// Throws InvalidArgument, having changed nothing, if the list is empty, if all gradients are
  /// absent (naming the variables), if a variable occurs twice or belongs to other Variables than
  /// the rest, if a gradient has not its variable's shape and dtype.
  virtual bool apply_gradients(std::span<const GradAndVar> grads_and_vars,
                               Where where = Where::here()) = 0;

  /// compute_gradients, then apply_gradients.
  bool minimize(Value loss, Variables& variables, Where where = Where::here());
  bool minimize(Value loss, Where where = Where::here());

  virtual std::string name() const = 0;

  /// The parameters, what the optimizer remembers, and its settings. Throws InvalidArgument before
  /// the first update, and if it does not say what it remembers.
  virtual StateDict state(Where where = Where::here()) const;
  /// Goes on from there with these variables, to the bit. Throws InvalidArgument, having changed
  /// nothing, with a list of all that is missing, unexpected or different.
  virtual void load_state(const StateDict& saved, Variables& variables,
                          SavedSettings settings = SavedSettings::must_match,
                          Where where = Where::here());
};

/// An optimizer made of a rule, with what the rule remembers: that is made when it first meets
/// variables, for all of their set, and belongs to that set.
class RuleOptimizer final : public Optimizer {
 public:
  /// `team` shares the work, if given; the results are the same.
  explicit RuleOptimizer(AnyRule rule, ThreadTeam* team = nullptr)
      : rule_(std::move(rule)), team_(team) {}

  bool apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override;
  std::string name() const override { return std::string(rule_.name()); }

  /// As Step::average. Throws InvalidArgument before the first update.
  Tensor average(const Variable& variable, Where where = Where::here());

  StateDict state(Where where = Where::here()) const override;
  void load_state(const StateDict& saved, Variables& variables,
                  SavedSettings settings = SavedSettings::must_match,
                  Where where = Where::here()) override;

 private:
  void begin(Variables& variables, Where where);

  AnyRule rule_;
  ThreadTeam* team_;
  std::optional<AnyRule::State> state_;
  std::optional<Gradients> gradients_;
  Variables* variables_ = nullptr;
};

/// The same for a rule that is known by its type:
/// `AdamOptimizer optimizer{{.learning_rate = 1e-3f}};`
template <Rule R>
class OptimizerOf final : public Optimizer {
 public:
  explicit OptimizerOf(R rule = {}, ThreadTeam* team = nullptr)
      : optimizer_(AnyRule(std::move(rule)), team) {}

  bool apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override {
    return optimizer_.apply_gradients(grads_and_vars, where);
  }
  std::string name() const override { return optimizer_.name(); }
  StateDict state(Where where = Where::here()) const override { return optimizer_.state(where); }
  void load_state(const StateDict& saved, Variables& variables,
                  SavedSettings settings = SavedSettings::must_match,
                  Where where = Where::here()) override {
    optimizer_.load_state(saved, variables, settings, where);
  }

 private:
  RuleOptimizer optimizer_;
};
using GradientDescentOptimizer = OptimizerOf<GradientDescent>;
using MomentumOptimizer = OptimizerOf<Momentum>;
using AdamOptimizer = OptimizerOf<Adam>;

/// What a decorator does with the gradients on their way: a function from a list to a list of the
/// same length, as in TensorFlow.
using TransformGrads = std::function<std::vector<Gradient>(std::span<const Gradient>)>;

namespace detail {
/// The pairs with their gradients transformed. Throws InvalidArgument if the list changes length.
GradsAndVars transformed(std::span<const GradAndVar> grads_and_vars,
                         const TransformGrads& transform, Where where);
AnyTransform global_norm_clip(double clip_norm, Where where);

/// A transform of lists of gradients, with what it remembers.
class ListTransform {
 public:
  explicit ListTransform(AnyTransform transform) : transform_(std::move(transform)) {}

  using Apply = std::function<bool(std::span<const GradAndVar>)>;
  using Load = std::function<void(const StateDict&)>;
  /// Hands the list on, transformed, unless the transform asks to skip the step. Returns whether it
  /// was applied; if not, the transform forgets it.
  bool run(std::span<const GradAndVar> grads_and_vars, const Apply& apply, Where where);
  const StepInfo& info() const { return info_; }
  StateDict state(const StateDict& inner, Where where) const;
  void load_state(const StateDict& saved, Variables& variables, SavedSettings settings,
                  const Load& load_inner, Where where);

 private:
  AnyTransform transform_;
  StepInfo info_{};  // of the last list
  std::optional<AnyTransform::State> state_;
  std::optional<Gradients> gradients_;
  Variables* variables_ = nullptr;
};
}  // namespace detail

/// A decorator: gradients go through a transform on their way to `inner`, which does not see a step
/// that it asks to skip, and itself forgets a step that `inner` skips. It is saved with what it
/// remembers, `inner` under `inner/`; limits that follow the step count the lists that were given
/// to it.
template <std::derived_from<Optimizer> Inner>
class ProcessingOptimizer final : public Optimizer {
 public:
  ProcessingOptimizer(Inner inner, AnyTransform transform, std::string prefix)
      : inner_(std::move(inner)), process_(std::move(transform)), prefix_(std::move(prefix)) {}

  bool apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override {
    const auto apply = [&](std::span<const GradAndVar> list) {
      return inner_.apply_gradients(list, where);
    };
    return process_.run(grads_and_vars, apply, where);
  }
  std::string name() const override { return prefix_ + inner_.name(); }
  StateDict state(Where where = Where::here()) const override {
    return process_.state(inner_.state(where), where);
  }
  void load_state(const StateDict& saved, Variables& variables,
                  SavedSettings settings = SavedSettings::must_match,
                  Where where = Where::here()) override {
    const auto load = [&](const StateDict& of_inner) {
      inner_.load_state(of_inner, variables, settings, where);
    };
    process_.load_state(saved, variables, settings, load, where);
  }
  /// What the transform said of the last step: norms, whether it was clipped; and whether it was
  /// skipped, by the transform or by `inner`.
  const StepInfo& info() const { return process_.info(); }
  Inner& inner() { return inner_; }

 private:
  Inner inner_;
  detail::ListTransform process_;
  std::string prefix_;
};

/// `auto opt = transform_gradients(AdamOptimizer{}, AutoClip{.percentile = 10});`
template <std::derived_from<Optimizer> Inner>
ProcessingOptimizer<Inner> transform_gradients(Inner inner, AnyTransform transform,
                                               std::string prefix = "Transform") {
  return {std::move(inner), std::move(transform), std::move(prefix)};
}

/// A decorator: gradients go through a function on their way to `inner`. What is saved is that of
/// `inner`: the function is part of no file.
template <std::derived_from<Optimizer> Inner>
class TransformingOptimizer final : public Optimizer {
 public:
  TransformingOptimizer(Inner inner, TransformGrads transform, std::string prefix)
      : inner_(std::move(inner)), transform_(std::move(transform)), prefix_(std::move(prefix)) {}

  bool apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override {
    return inner_.apply_gradients(detail::transformed(grads_and_vars, transform_, where), where);
  }
  std::string name() const override { return prefix_ + inner_.name(); }
  StateDict state(Where where = Where::here()) const override { return inner_.state(where); }
  void load_state(const StateDict& saved, Variables& variables,
                  SavedSettings settings = SavedSettings::must_match,
                  Where where = Where::here()) override {
    inner_.load_state(saved, variables, settings, where);
  }
  Inner& inner() { return inner_; }

 private:
  Inner inner_;
  TransformGrads transform_;
  std::string prefix_;
};

template <std::derived_from<Optimizer> Inner>
TransformingOptimizer<Inner> transform_gradients(Inner inner, TransformGrads transform,
                                                 std::string prefix = "Transform") {
  return {std::move(inner), std::move(transform), std::move(prefix)};
}

/// Clips by the *global* norm before any optimizer applies (tf.contrib.estimator's function of this
/// name): `auto opt = clip_gradients_by_norm(AdamOptimizer{{.learning_rate = 1e-3f}}, 5);`. Throws
/// InvalidArgument for a negative or NaN threshold.
template <std::derived_from<Optimizer> Inner>
ProcessingOptimizer<Inner> clip_gradients_by_norm(Inner inner, double clip_norm,
                                                  Where where = Where::here()) {
  return {std::move(inner), detail::global_norm_clip(clip_norm, where), "ClipByNorm"};
}

}  // namespace rein
