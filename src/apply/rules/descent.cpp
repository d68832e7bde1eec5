#include "rein/apply/rules/descent.h"

#include "apply/rules/common.h"
#include "rein/kernels/update.h"

namespace rein {

static_assert(Rule<GradientDescent> && Rule<Momentum>);

GradientDescent::State GradientDescent::init(const Variables& variables) const {
  check_settings(*this);
  State state;
  state.count.start(variables);
  return state;
}

void GradientDescent::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void GradientDescent::delta(std::span<T> d, State& state, BlockPlace place) const {
  add_weights(d, place, weight_decay);
  kernels::scale_into(d.data(), -state.rate, d.data(), d.size());
}
template void GradientDescent::delta(std::span<float>, State&, BlockPlace) const;
template void GradientDescent::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- momentum

Momentum::State Momentum::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::tensorflow, RuleForm::keras, RuleForm::pytorch});
  if (dampening != 0) {
    if (form != RuleForm::pytorch)
      reject(name, "dampening", "0 but in the PyTorch form", dampening);
    if (use_nesterov) reject(name, "dampening", "0 with Nesterov's momentum", dampening);
    if (!(dampening > 0 && dampening <= 1)) reject(name, "dampening", "in [0, 1]", dampening);
  }
  State state;
  state.count.start(variables);
  state.accumulator = Slot("momentum", variables);
  return state;
}

void Momentum::prepare(State& state) const {
  state.rate = next_rate(*this, state);
  state.momentum = checked_fraction(name, "momentum", momentum.at(state.count.steps));
}

void Momentum::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void Momentum::delta(std::span<T> d, State& state, BlockPlace place) const {
  T* a = block_of<T>(state.accumulator, place);
  const T mu = static_cast<T>(state.momentum), rate = static_cast<T>(state.rate);
  decay_gradient(*this, d, place);
  if (form == RuleForm::keras) {
    for (size_t i = 0; i < d.size(); ++i) {
      const T step = rate * d[i];
      a[i] = mu * a[i] - step;
      d[i] = use_nesterov ? mu * a[i] - step : a[i];
    }
  } else {
    const bool first = form == RuleForm::pytorch && state.count.of[place.variable] == 1;
    const T fresh = static_cast<T>(first ? 1 : 1 - dampening);
    for (size_t i = 0; i < d.size(); ++i) {
      a[i] = mu * a[i] + fresh * d[i];
      d[i] = use_nesterov ? -rate * d[i] - rate * mu * a[i] : -rate * a[i];
    }
  }
  decay_weights(*this, d, state.rate, place);
}
template void Momentum::delta(std::span<float>, State&, BlockPlace) const;
template void Momentum::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
