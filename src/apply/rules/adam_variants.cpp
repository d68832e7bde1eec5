#include "rein/apply/rules/adam_variants.h"

#include "apply/rules/common.h"

namespace rein {

static_assert(Rule<Adamax> && Rule<Nadam> && Rule<RAdam>);

// ---------------------------------------------------------------- Adamax

Adamax::State Adamax::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::keras, RuleForm::pytorch, RuleForm::optax});
  State state;
  state.count.start(variables);
  state.rates.resize(variables.size());
  state.m = Slot("m", variables);
  state.u = Slot("u", variables);
  return state;
}

void Adamax::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
  for (size_t i = 0; i < state.rates.size(); ++i)
    if (const double t = step_number(state.count, form, i); t > 0)
      state.rates[i] = state.rate / (1 - std::pow(beta1, t));
}

template <class T>
void Adamax::delta(std::span<T> d, State& state, BlockPlace place) const {
  const bool at_the_end = form == RuleForm::keras;
  decay_gradient(*this, d, place);
  kernels::adamax(d.data(), block_of<T>(state.m, place), block_of<T>(state.u, place),
                  {.beta1 = beta1,
                   .new1 = 1 - beta1,
                   .beta2 = beta2,
                   .rate = state.rates[place.variable],
                   .added = at_the_end ? 0 : epsilon,
                   .epsilon = at_the_end ? epsilon : 0},
                  d.size());
  decay_weights(*this, d, state.rate, place);
}
template void Adamax::delta(std::span<float>, State&, BlockPlace) const;
template void Adamax::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- Nadam

Nadam::State Nadam::init(const Variables& variables) const {
  check_settings(*this);
  check_from_zero(name, "momentum_decay", momentum_decay);
  State state;
  state.count.start(variables);
  state.mu_products.assign(variables.size(), 1);
  state.weights.resize(variables.size());
  state.m = Slot("m", variables);
  state.v = Slot("v", variables);
  return state;
}

void Nadam::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
  const auto mu = [&](double t) {
    if (form == RuleForm::optax) return beta1;
    return beta1 * (1 - 0.5 * std::pow(0.96, form == RuleForm::keras ? t : t * momentum_decay));
  };
  for (size_t i = 0; i < state.weights.size(); ++i) {
    if (!counts_steps(form) && is_absent(gradients, i)) continue;
    const double t = step_number(state.count, form, i);
    const double c2 = 1 - std::pow(beta2, t);
    if (form == RuleForm::tensorflow) {
      const double rate = state.rate * std::sqrt(c2) / (1 - std::pow(beta1, t));
      state.weights[i] = {rate * beta1, rate * (1 - beta1), 1};
      continue;
    }
    const double product = state.mu_products[i] *= mu(t);
    state.weights[i] = {state.rate * mu(t + 1) / (1 - product * mu(t + 1)),
                        state.rate * (1 - mu(t)) / (1 - product), 1 / std::sqrt(c2)};
  }
}

template <class T>
void Nadam::delta(std::span<T> d, State& state, BlockPlace place) const {
  const auto& weights = state.weights[place.variable];
  decay_gradient(*this, d, place);
  kernels::nadam(d.data(), block_of<T>(state.m, place), block_of<T>(state.v, place),
                 {.beta1 = beta1,
                  .new1 = 1 - beta1,
                  .beta2 = beta2,
                  .new2 = 1 - beta2,
                  .of_m = weights.of_m,
                  .of_d = weights.of_g,
                  .root_factor = weights.root_factor,
                  .epsilon = epsilon},
                 d.size());
  decay_weights(*this, d, state.rate, place);
}
template void Nadam::delta(std::span<float>, State&, BlockPlace) const;
template void Nadam::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- RAdam

RAdam::State RAdam::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::pytorch, RuleForm::optax});
  State state;
  state.count.start(variables);
  state.weights.resize(variables.size());
  state.m = Slot("m", variables);
  state.v = Slot("v", variables);
  return state;
}

void RAdam::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
  const double r_inf = 2 / (1 - beta2) - 1;
  for (size_t i = 0; i < state.weights.size(); ++i) {
    const double t = step_number(state.count, form, i);
    if (t == 0) continue;
    const double b2 = std::pow(beta2, t), c2 = 1 - b2;
    const double r = r_inf - 2 * t * b2 / c2;
    const double rate = state.rate / (1 - std::pow(beta1, t));
    if (form == RuleForm::pytorch ? r > 5 : r >= 5) {
      const double rectified =
          rate * std::sqrt((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r));
      if (form == RuleForm::pytorch)
        state.weights[i] = {rectified * std::sqrt(c2), 1, true};
      else
        state.weights[i] = {rectified, 1 / std::sqrt(c2), true};
    } else {
      state.weights[i] = {rate, 1, false};
    }
  }
}

template <class T>
void RAdam::delta(std::span<T> d, State& state, BlockPlace place) const {
  T* const m = block_of<T>(state.m, place);
  T* const v = block_of<T>(state.v, place);
  const auto& weights = state.weights[place.variable];
  const kernels::AdamNumbers numbers{.beta1 = beta1,
                                     .beta2 = beta2,
                                     .new1 = 1 - beta1,
                                     .new2 = 1 - beta2,
                                     .rate = weights.of_m,
                                     .root_factor = weights.root_factor,
                                     .epsilon = epsilon};
  decay_gradient(*this, d, place);
  if (weights.adaptive) {
    kernels::adam(d.data(), m, v, numbers, d.size());
  } else {  // the first few steps
    const T new2 = static_cast<T>(numbers.new2), b2 = static_cast<T>(beta2);
    for (size_t i = 0; i < d.size(); ++i) v[i] = b2 * v[i] + new2 * (d[i] * d[i]);
    kernels::combine(numbers.beta1, m, numbers.new1, d.data(), m, d.size());
    kernels::scale_into(m, -numbers.rate, d.data(), d.size());
  }
  decay_weights(*this, d, state.rate, place);
}
template void RAdam::delta(std::span<float>, State&, BlockPlace) const;
template void RAdam::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
