// What the rules share: checks of settings, and weight decay.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/prefetch.h"
#include "rein/apply/rules/settings.h"
#include "rein/kernels/update.h"

namespace rein {

// Settings are checked where no caller is in sight: whoever calls `init` or `begin` for a user adds
// the user's place.
[[noreturn]] void reject(std::string_view rule, std::string_view setting, std::string_view wish,
                         double got);

/// What can be known of a schedule before the first step.
void check_rate(std::string_view rule, const Schedule& rate);
void check_fraction(std::string_view rule, std::string_view setting, const Schedule& value);
/// `value`, if it is in [0, 1).
double checked_fraction(std::string_view rule, std::string_view setting, double value);
/// A finite number from 0 on.
void check_from_zero(std::string_view rule, std::string_view setting, double value);
void check_form(std::string_view rule, RuleForm form, std::initializer_list<RuleForm> known);
/// That a rule for some of the variables does not move the others.
void check_part(std::string_view rule, const AnyRule& part);
/// The state of a rule for those of the variables that are its `own`. Its slots have no memory for
/// the others, and so are not laid out as the parameters are: `place_in` of `shift` says where in
/// them a block is. Rules that are made of others have all variables.
struct Part {
  AnyRule::State state;
  std::vector<size_t> shift;  // per variable, in elements
};
Part init_part(const AnyRule& rule, const Variables& variables, const std::vector<bool>& own);
inline BlockPlace place_in(const std::vector<size_t>& shift, BlockPlace place) {
  place.offset -= shift[place.variable];
  return place;
}
/// The state of the rule inside another, which must not be or have one that `moves_alone`.
AnyRule::State init_inside(std::string_view around, const AnyRule& rule,
                           const Variables& variables);
/// Learning rate, weight decay and the numbers that the rules have in common.
template <class R>
void check_settings(const R& rule) {
  if constexpr (requires { rule.learning_rate; }) check_rate(R::name, rule.learning_rate);
  if constexpr (requires { rule.weight_decay; })
    check_from_zero(R::name, "weight_decay", rule.weight_decay);
  if constexpr (requires { rule.epsilon; }) check_from_zero(R::name, "epsilon", rule.epsilon);
  if constexpr (requires { rule.momentum; }) check_fraction(R::name, "momentum", rule.momentum);
  if constexpr (requires { rule.rho; }) check_fraction(R::name, "rho", rule.rho);
  if constexpr (requires { rule.beta1; }) check_fraction(R::name, "beta1", rule.beta1);
  if constexpr (requires { rule.beta2; }) check_fraction(R::name, "beta2", rule.beta2);
}

inline bool is_absent(const Gradients& gradients, size_t variable) {
  return gradients.kind(variable) == Gradients::Kind::absent;
}

/// Whether a variable's steps are counted while its gradient is absent.
inline bool counts_steps(RuleForm form) {
  return form == RuleForm::tensorflow || form == RuleForm::keras;
}
/// The number of a variable's step, from 1 on; 0 before its first gradient.
inline double step_number(const StepCount& count, RuleForm form, size_t variable) {
  return static_cast<double>(counts_steps(form) ? count.steps : count.of[variable]);
}

/// What a slot remembers of the block. Asks for what a rule will want some tiles later.
template <class T>
T* block_of(Slot& slot, BlockPlace place) {
  T* const block = slot.data<T>() + place.offset;
  kernels::prefetch_tile(block);
  return block;
}

/// d += factor w, w the weights of the block.
template <class T>
void add_weights(std::span<T> d, BlockPlace place, double factor) {
  if (factor != 0) kernels::combine(1, d.data(), factor, place.weights<T>(), d.data(), d.size());
}

/// Weight decay before a rule looks at the gradient, and after it has made the delta: each does
/// something for one kind of decay.
template <class R, class T>
void decay_gradient(const R& rule, std::span<T> d, BlockPlace place) {
  if (rule.decay == Decay::coupled) add_weights(d, place, rule.weight_decay);
}
template <class R, class T>
void decay_weights(const R& rule, std::span<T> d, double rate, BlockPlace place) {
  if (rule.decay == Decay::decoupled) add_weights(d, place, -rate * rule.weight_decay);
}

}  // namespace rein
