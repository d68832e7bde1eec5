#include "rein/apply/rules/root_mean_square.h"

#include "apply/rules/common.h"

namespace rein {

static_assert(Rule<RMSProp> && Rule<Adagrad> && Rule<Adadelta>);

// ---------------------------------------------------------------- RMSProp

RMSProp::State RMSProp::init(const Variables& variables) const {
  check_settings(*this);
  if (!epsilon_in_root && form != RuleForm::optax)
    throw InvalidArgument(name, "epsilon_in_root can only be false in the Optax form", Where{});
  if (use_nesterov && form != RuleForm::optax)
    throw InvalidArgument(name, "use_nesterov can only be set in the Optax form", Where{});
  State state;
  state.count.start(variables);
  state.square = Slot("rms", variables, form == RuleForm::tensorflow ? 1 : 0);
  if (centered) state.mean = Slot("mean", variables);
  if (momentum != 0) state.velocity = Slot("momentum", variables);
  return state;
}

void RMSProp::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void RMSProp::delta(std::span<T> d, State& state, BlockPlace place) const {
  T* const s = block_of<T>(state.square, place);
  const double rate = state.rate;
  const bool outside = form == RuleForm::pytorch || !epsilon_in_root;
  const kernels::RmsNumbers numbers{.rho = rho,
                                    .rate = momentum == 0 ? rate : -1,
                                    .in_root = outside ? 0 : epsilon,
                                    .epsilon = outside ? epsilon : 0};
  decay_gradient(*this, d, place);
  if (centered)
    kernels::centered_rmsprop(d.data(), s, block_of<T>(state.mean, place), numbers, d.size());
  else
    kernels::rmsprop(d.data(), s, numbers, d.size());
  if (momentum != 0) {
    T* const a = block_of<T>(state.velocity, place);
    const double enters = form == RuleForm::pytorch ? 1 : form == RuleForm::optax ? -rate : rate;
    const double leaves = form == RuleForm::pytorch ? -rate : form == RuleForm::optax ? 1 : -1;
    kernels::combine(momentum, a, enters, d.data(), a, d.size());
    if (use_nesterov)
      kernels::combine(momentum, a, enters, d.data(), d.data(), d.size());
    else
      kernels::scale_into(a, leaves, d.data(), d.size());
  }
  decay_weights(*this, d, state.rate, place);
}
template void RMSProp::delta(std::span<float>, State&, BlockPlace) const;
template void RMSProp::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- Adagrad

Adagrad::State Adagrad::init(const Variables& variables) const {
  check_settings(*this);
  check_from_zero(name, "initial_accumulator", initial_accumulator);
  check_from_zero(name, "rate_decay", rate_decay);
  if (rate_decay != 0 && form != RuleForm::pytorch)
    reject(name, "rate_decay", "0 but in the PyTorch form", rate_decay);
  State state;
  state.count.start(variables);
  state.accumulator = Slot("accumulator", variables, initial_accumulator);
  return state;
}

void Adagrad::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void Adagrad::delta(std::span<T> d, State& state, BlockPlace place) const {
  const double t = step_number(state.count, form, place.variable);
  const bool outside = form == RuleForm::pytorch;
  decay_gradient(*this, d, place);
  kernels::adagrad(d.data(), block_of<T>(state.accumulator, place),
                   {.rate = state.rate / (1 + (t - 1) * rate_decay),
                    .in_root = outside || form == RuleForm::tensorflow ? 0 : epsilon,
                    .epsilon = outside ? epsilon : 0,
                    .rests_at_0 = form == RuleForm::optax},
                   d.size());
  decay_weights(*this, d, state.rate, place);
}
template void Adagrad::delta(std::span<float>, State&, BlockPlace) const;
template void Adagrad::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- Adadelta

Adadelta::State Adadelta::init(const Variables& variables) const {
  check_settings(*this);
  State state;
  state.count.start(variables);
  state.square = Slot("square", variables);
  state.step = Slot("step", variables);
  return state;
}

void Adadelta::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void Adadelta::delta(std::span<T> d, State& state, BlockPlace place) const {
  decay_gradient(*this, d, place);
  kernels::adadelta(d.data(), block_of<T>(state.square, place), block_of<T>(state.step, place),
                    {.rho = rho, .rate = state.rate, .epsilon = epsilon}, d.size());
  decay_weights(*this, d, state.rate, place);
}
template void Adadelta::delta(std::span<float>, State&, BlockPlace) const;
template void Adadelta::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
