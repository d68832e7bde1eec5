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

  /// Updates the variables. Throws InvalidArgument, having changed nothing, if the list is empty,
  /// if all gradients are absent (naming the variables), if a variable occurs twice, if shapes
  /// differ.
  virtual void apply_gradients(std::span<const GradAndVar> grads_and_vars,
                               Where where = Where::here()) = 0;

  /// compute_gradients, then apply_gradients.
  void minimize(Value loss, Variables& variables, Where where = Where::here());
  void minimize(Value loss, Where where = Where::here());

  virtual std::string name() const = 0;
};

/// An optimizer made of a rule: `AdamOptimizer optimizer{{.learning_rate = 1e-3f}};`. What it
/// remembers is made when it first meets the variables, and belongs to one set of Variables.
class RuleOptimizer : public Optimizer {
 public:
  explicit RuleOptimizer(AnyRule rule) : rule_(std::move(rule)) {}
  using Optimizer::compute_gradients;

  void apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override;
  std::string name() const override { return std::string(rule_.name()); }

 private:
  AnyRule rule_;
  std::optional<AnyRule::State> state_;
  std::optional<Gradients> gradients_;
  Variables* variables_ = nullptr;
};

template <Rule R>
class OptimizerOf final : public RuleOptimizer {
 public:
  explicit OptimizerOf(R rule = {}) : RuleOptimizer(std::move(rule)) {}
};
using GradientDescentOptimizer = OptimizerOf<GradientDescent>;
using MomentumOptimizer = OptimizerOf<Momentum>;
using AdamOptimizer = OptimizerOf<Adam>;

/// A decorator: the gradients go through a function on their way to `inner`. Functions from a list
/// to a list, as in TensorFlow.
using TransformGrads = std::function<std::vector<Gradient>(std::span<const Gradient>)>;

template <std::derived_from<Optimizer> Inner>
class TransformingOptimizer final : public Optimizer {
 public:
  TransformingOptimizer(Inner inner, TransformGrads transform, std::string prefix)
      : inner_(std::move(inner)), transform_(std::move(transform)), prefix_(std::move(prefix)) {}

  void apply_gradients(std::span<const GradAndVar> grads_and_vars,
                       Where where = Where::here()) override {
    std::vector<Gradient> gradients;
    for (const auto& [grad, var] : grads_and_vars) gradients.push_back(grad);
    gradients = transform_(gradients);
    GradsAndVars transformed(grads_and_vars.begin(), grads_and_vars.end());
    for (size_t i = 0; i < transformed.size(); ++i) transformed[i].grad = gradients.at(i);
    inner_.apply_gradients(transformed, where);
  }
  std::string name() const override { return prefix_ + inner_.name(); }

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
TransformingOptimizer<Inner> clip_gradients_by_norm(Inner inner, double clip_norm,
                                                    Where where = Where::here());

namespace detail {
TransformGrads clip_by_global_norm_function(double clip_norm, Where where);
}

template <std::derived_from<Optimizer> Inner>
TransformingOptimizer<Inner> clip_gradients_by_norm(Inner inner, double clip_norm, Where where) {
  return {std::move(inner), detail::clip_by_global_norm_function(clip_norm, where), "ClipByNorm"};
}

}  // namespace rein
