#include "rein/apply/rules/root_mean_square.h"

#include "apply/rules/common.h"

namespace rein {

static_assert(Rule<RMSProp> && Rule<Adagrad> && Rule<Adadelta>);

// ---------------------------------------------------------------- RMSProp

RMSProp::State RMSProp::init(const Variables& variables) const {
  check_settings(*this);
  if (!epsilon_in_root && form != RuleForm::optax)
    throw InvalidArgument(name, "epsilon_in_root can only be false in the Optax form", Where{});
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
  T* const mean = centered ? block_of<T>(state.mean, place) : nullptr;
  const T r = static_cast<T>(rho), fresh = static_cast<T>(1 - rho);
  const bool outside = form == RuleForm::pytorch || !epsilon_in_root;
  const T in_root = static_cast<T>(outside ? 0 : epsilon);
  const T below = static_cast<T>(outside ? epsilon : 0);
  decay_gradient(*this, d, place);
  for (size_t i = 0; i < d.size(); ++i) {
    s[i] = r * s[i] + fresh * (d[i] * d[i]);
    T under = s[i];
    if (mean) {
      mean[i] = r * mean[i] + fresh * d[i];
      under -= mean[i] * mean[i];
    }
    d[i] /= std::sqrt(under + in_root) + below;
  }
  const T rate = static_cast<T>(state.rate);
  if (momentum == 0) {
    for (T& x : d) x *= -rate;
  } else {
    T* const a = block_of<T>(state.velocity, place);
    const T mu = static_cast<T>(momentum);
    const T enters = form == RuleForm::pytorch ? 1 : form == RuleForm::optax ? -rate : rate;
    const T leaves = form == RuleForm::pytorch ? -rate : form == RuleForm::optax ? T{1} : T{-1};
    for (size_t i = 0; i < d.size(); ++i) {
      a[i] = mu * a[i] + enters * d[i];
      d[i] = leaves * a[i];
    }
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
  T* const s = block_of<T>(state.accumulator, place);
  const double t = step_number(state.count, form, place.variable);
  const T rate = static_cast<T>(-state.rate / (1 + (t - 1) * rate_decay));
  const bool outside = form == RuleForm::pytorch;
  const T in_root = static_cast<T>(outside || form == RuleForm::tensorflow ? 0 : epsilon);
  const T below = static_cast<T>(outside ? epsilon : 0);
  const bool rests_at_0 = form == RuleForm::optax;
  decay_gradient(*this, d, place);
  for (size_t i = 0; i < d.size(); ++i) {
    s[i] += d[i] * d[i];
    const T step = rate * d[i] / (std::sqrt(s[i] + in_root) + below);
    d[i] = rests_at_0 && s[i] == 0 ? 0 : step;
  }
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
  T* const s = block_of<T>(state.square, place);
  T* const a = block_of<T>(state.step, place);
  const T r = static_cast<T>(rho), fresh = static_cast<T>(1 - rho);
  const T eps = static_cast<T>(epsilon), rate = static_cast<T>(-state.rate);
  decay_gradient(*this, d, place);
  for (size_t i = 0; i < d.size(); ++i) {
    s[i] = r * s[i] + fresh * (d[i] * d[i]);
    const T u = std::sqrt(a[i] + eps) / std::sqrt(s[i] + eps) * d[i];
    a[i] = r * a[i] + fresh * (u * u);
    d[i] = rate * u;
  }
  decay_weights(*this, d, state.rate, place);
}
template void Adadelta::delta(std::span<float>, State&, BlockPlace) const;
template void Adadelta::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
