#include "rein/apply/rules.h"

#include <fmt/format.h>

#include <cmath>

#include "rein/kernels/update.h"

namespace rein {

static_assert(Rule<GradientDescent> && Rule<Momentum> && Rule<Adam>);

namespace {

// Settings are checked where no caller is in sight: whoever calls `init` or `begin` for a user adds
// the user's place.
[[noreturn]] void reject(std::string_view rule, std::string_view setting, std::string_view wish,
                         double got) {
  throw InvalidArgument(rule, fmt::format("{} must be {}, got {}", setting, wish, got), Where{});
}

double checked_rate(std::string_view rule, double rate) {
  if (!(rate >= 0) || std::isinf(rate))
    reject(rule, "learning_rate", "a finite number from 0 on", rate);
  return rate;
}

void check_rate(std::string_view rule, const Schedule& rate) {
  if (rate.is_constant()) checked_rate(rule, rate.at(0));
}

void check_decay(std::string_view rule, std::string_view setting, double value) {
  if (!(value >= 0 && value < 1)) reject(rule, setting, "in [0, 1)", value);
}

bool is_absent(const Gradients& gradients, size_t variable) {
  return gradients.kind(variable) == Gradients::Kind::absent;
}

// Out of line: g++ 12 turns double -> float -> double of two neighbours into nothing (-O2 and up).
[[gnu::noinline]] double rounded(DType dtype, double x) {
  return dtype == DType::float32 ? static_cast<double>(static_cast<float>(x)) : x;
}

}  // namespace

// ---------------------------------------------------------------- gradient descent

GradientDescent::State GradientDescent::init(const Variables&) const {
  check_rate(name, learning_rate);
  return {};
}

void GradientDescent::begin(State& state, const Gradients&) const {
  state.rate = checked_rate(name, learning_rate.at(state.step));
  ++state.step;
}

void GradientDescent::delta(std::span<float> d, State& state, BlockPlace) const {
  kernels::scale_into(d.data(), -state.rate, d.data(), d.size());
}
void GradientDescent::delta(std::span<double> d, State& state, BlockPlace) const {
  kernels::scale_into(d.data(), -state.rate, d.data(), d.size());
}

// ---------------------------------------------------------------- momentum

Momentum::State Momentum::init(const Variables& variables) const {
  check_rate(name, learning_rate);
  check_decay(name, "momentum", momentum);
  if (dampening != 0) {
    if (form != MomentumForm::pytorch)
      reject(name, "dampening", "0 but in the PyTorch form", dampening);
    if (use_nesterov) reject(name, "dampening", "0 with Nesterov's momentum", dampening);
    if (!(dampening > 0 && dampening <= 1)) reject(name, "dampening", "in [0, 1]", dampening);
  }
  State state;
  state.met.assign(variables.size(), 0);
  state.accumulator = Slot("momentum", variables);
  return state;
}

void Momentum::begin(State& state, const Gradients& gradients) const {
  state.rate = checked_rate(name, learning_rate.at(state.step));
  ++state.step;
  for (size_t i = 0; i < state.met.size(); ++i)
    if (state.met[i] < 2 && (state.met[i] == 1 || !is_absent(gradients, i))) ++state.met[i];
}

namespace {

template <class T>
void momentum_delta(const Momentum& rule, std::span<T> d, Momentum::State& state,
                    BlockPlace place) {
  T* a = state.accumulator.data<T>() + place.offset;
  const T momentum = static_cast<T>(rule.momentum), rate = static_cast<T>(state.rate);
  if (rule.form == MomentumForm::keras) {
    for (size_t i = 0; i < d.size(); ++i) {
      const T step = rate * d[i];
      a[i] = momentum * a[i] - step;
      d[i] = rule.use_nesterov ? momentum * a[i] - step : a[i];
    }
    return;
  }
  const bool first = rule.form == MomentumForm::pytorch && state.met[place.variable] == 1;
  const T fresh = static_cast<T>(first ? 1 : 1 - rule.dampening);
  for (size_t i = 0; i < d.size(); ++i) {
    a[i] = momentum * a[i] + fresh * d[i];
    d[i] = rule.use_nesterov ? -rate * d[i] - rate * momentum * a[i] : -rate * a[i];
  }
}

}  // namespace

void Momentum::delta(std::span<float> d, State& state, BlockPlace place) const {
  momentum_delta(*this, d, state, place);
}
void Momentum::delta(std::span<double> d, State& state, BlockPlace place) const {
  momentum_delta(*this, d, state, place);
}

// ---------------------------------------------------------------- Adam

Adam::State Adam::init(const Variables& variables) const {
  check_rate(name, learning_rate);
  check_decay(name, "beta1", beta1);
  check_decay(name, "beta2", beta2);
  if (!(epsilon >= 0)) reject(name, "epsilon", "a number from 0 on", epsilon);
  State state;
  // PyTorch keeps settings in double until they meet the numbers.
  state.dtype = form == AdamForm::pytorch ? DType::float64 : variables.dtype();
  state.beta1 = rounded(state.dtype, beta1);
  state.beta2 = rounded(state.dtype, beta2);
  state.counts.assign(variables.size(), 0);
  state.corrections.resize(variables.size());
  state.m = Slot("m", variables);
  state.v = Slot("v", variables);
  return state;
}

void Adam::begin(State& state, const Gradients& gradients) const {
  const double rate = checked_rate(name, learning_rate.at(state.step));
  ++state.step;
  for (size_t i = 0; i < state.counts.size(); ++i)
    if (!is_absent(gradients, i)) ++state.counts[i];

  if (form == AdamForm::pytorch) {
    for (size_t i = 0; i < state.counts.size(); ++i) {
      if (state.counts[i] == 0) continue;
      const auto t = static_cast<double>(state.counts[i]);
      state.corrections[i] = {rate / (1 - std::pow(state.beta1, t)),
                              1 / std::sqrt(1 - std::pow(state.beta2, t))};
    }
    return;
  }
  if (form == AdamForm::tensorflow) {
    state.power1 = rounded(state.dtype, state.power1 * state.beta1);
    state.power2 = rounded(state.dtype, state.power2 * state.beta2);
  } else {
    const auto t = static_cast<double>(state.step);
    state.power1 = rounded(state.dtype, std::pow(state.beta1, t));
    state.power2 = rounded(state.dtype, std::pow(state.beta2, t));
  }
  const double corrected =
      rounded(state.dtype, rate) * std::sqrt(1 - state.power2) / (1 - state.power1);
  for (auto& correction : state.corrections) correction = {corrected, 1};
}

namespace {

template <class T>
void adam_delta(const Adam& rule, std::span<T> d, Adam::State& state, BlockPlace place) {
  const auto& correction = state.corrections[place.variable];
  // 1 - beta is of the rounded number in TensorFlow, of the decimal in Keras and PyTorch.
  const bool as_tensorflow = rule.form == AdamForm::tensorflow;
  kernels::adam(d.data(), state.m.data<T>() + place.offset, state.v.data<T>() + place.offset,
                {.beta1 = state.beta1,
                 .beta2 = state.beta2,
                 .new1 = 1 - (as_tensorflow ? state.beta1 : rule.beta1),
                 .new2 = 1 - (as_tensorflow ? state.beta2 : rule.beta2),
                 .rate = correction.rate,
                 .root_factor = correction.root_factor,
                 .epsilon = rule.epsilon},
                d.size());
}

}  // namespace

void Adam::delta(std::span<float> d, State& state, BlockPlace place) const {
  adam_delta(*this, d, state, place);
}
void Adam::delta(std::span<double> d, State& state, BlockPlace place) const {
  adam_delta(*this, d, state, place);
}

}  // namespace rein
