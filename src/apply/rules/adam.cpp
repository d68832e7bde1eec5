#include "rein/apply/rules/adam.h"

#include "apply/rules/common.h"
#include "rein/kernels/update.h"

namespace rein {

static_assert(Rule<Adam> && Rule<AdamW>);

namespace {

// Out of line: g++ 12 turns double -> float -> double of two neighbours into nothing (-O2 and up).
[[gnu::noinline]] double rounded(DType dtype, double x) {
  return dtype == DType::float32 ? static_cast<double>(static_cast<float>(x)) : x;
}

template <class R>
kernels::AdamNumbers numbers_of(const R& rule, const AdamState& state, size_t variable) {
  const auto& correction = state.corrections[variable];
  return {.beta1 = state.beta1,
          .beta2 = state.beta2,
          .new1 = state.new1,
          .new2 = 1 - (rule.form == RuleForm::tensorflow ? state.beta2 : rule.beta2),
          .rate = correction.rate,
          .root_factor = correction.root_factor,
          .epsilon = rule.epsilon};
}

}  // namespace

template <bool kDecoupled>
AdamState BasicAdam<kDecoupled>::init(const Variables& variables) const {
  check_settings(*this);
  check_from_zero(name, "epsilon_root", epsilon_root);
  if (epsilon_root != 0 && form != RuleForm::optax)
    reject(name, "epsilon_root", "0 but in the Optax form", epsilon_root);
  State state;
  // PyTorch keeps settings in double until they meet the numbers.
  state.dtype = counts_steps(form) ? variables.dtype() : DType::float64;
  state.beta2 = rounded(state.dtype, beta2);
  state.count.start(variables);
  state.corrections.resize(variables.size());
  state.m = Slot("m", variables);
  state.v = Slot("v", variables);
  if (amsgrad) state.v_max = Slot("v_max", variables);
  return state;
}

template <bool kDecoupled>
void BasicAdam<kDecoupled>::prepare(State& state) const {
  state.rate = next_rate(*this, state);
  const double decimal = checked_fraction(name, "beta1", beta1.at(state.count.steps));
  state.beta1 = rounded(state.dtype, decimal);
  // 1 - beta is of the rounded number in TensorFlow, of the decimal elsewhere.
  state.new1 = 1 - (form == RuleForm::tensorflow ? state.beta1 : decimal);
}

template <bool kDecoupled>
void BasicAdam<kDecoupled>::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
  if (!counts_steps(form)) {
    for (size_t i = 0; i < state.corrections.size(); ++i) {
      const double t = step_number(state.count, form, i);
      if (t == 0) continue;
      const double c1 = 1 - std::pow(state.beta1, t), c2 = 1 - std::pow(state.beta2, t);
      const bool inside = form == RuleForm::optax && (amsgrad || epsilon_root > 0);
      state.corrections[i] = {state.rate / c1, inside ? 1 : 1 / std::sqrt(c2), inside ? 1 / c2 : 1};
    }
    return;
  }
  if (form == RuleForm::tensorflow) {
    state.power1 = rounded(state.dtype, state.power1 * state.beta1);
    state.power2 = rounded(state.dtype, state.power2 * state.beta2);
  } else {
    const auto t = static_cast<double>(state.count.steps);
    state.power1 = rounded(state.dtype, std::pow(state.beta1, t));
    state.power2 = rounded(state.dtype, std::pow(state.beta2, t));
  }
  const double corrected =
      rounded(state.dtype, state.rate) * std::sqrt(1 - state.power2) / (1 - state.power1);
  for (auto& correction : state.corrections) correction = {corrected};
}

template <bool kDecoupled>
template <class T>
void BasicAdam<kDecoupled>::delta(std::span<T> d, State& state, BlockPlace place) const {
  if (!kDecoupled) add_weights(d, place, weight_decay);
  const auto numbers = numbers_of(*this, state, place.variable);
  const auto& correction = state.corrections[place.variable];
  T* const m = block_of<T>(state.m, place);
  T* const v = block_of<T>(state.v, place);
  if (epsilon_root == 0 && !amsgrad) {
    kernels::adam(d.data(), m, v, numbers, d.size());
  } else if (epsilon_root == 0) {
    kernels::amsgrad(d.data(), m, v, block_of<T>(state.v_max, place), numbers,
                     correction.square_factor, d.size());
  } else {
    const T b1 = static_cast<T>(numbers.beta1), b2 = static_cast<T>(numbers.beta2);
    const T new1 = static_cast<T>(numbers.new1), new2 = static_cast<T>(numbers.new2);
    const T rate = static_cast<T>(-numbers.rate), eps = static_cast<T>(epsilon);
    const T factor = static_cast<T>(numbers.root_factor), eps_root = static_cast<T>(epsilon_root);
    const T square_factor = static_cast<T>(correction.square_factor);
    T* const largest = amsgrad ? block_of<T>(state.v_max, place) : nullptr;
    for (size_t i = 0; i < d.size(); ++i) {
      m[i] = b1 * m[i] + new1 * d[i];
      v[i] = b2 * v[i] + new2 * (d[i] * d[i]);
      T square = v[i] * square_factor;
      if (largest) square = largest[i] = std::max(square, largest[i]);
      d[i] = rate * m[i] / (std::sqrt(square + eps_root) * factor + eps);
    }
  }
  if (kDecoupled) add_weights(d, place, -state.rate * weight_decay);
}

template <bool kDecoupled>
template <class T>
bool BasicAdam<kDecoupled>::update(std::span<T> gradient, double scale, T* parameters, State& state,
                                   BlockPlace place) const {
  if (weight_decay != 0 || amsgrad || epsilon_root != 0) return false;
  kernels::adam_update(gradient.data(), scale, parameters, block_of<T>(state.m, place),
                       block_of<T>(state.v, place), numbers_of(*this, state, place.variable),
                       gradient.size());
  return true;
}

template struct BasicAdam<false>;
template struct BasicAdam<true>;
template void Adam::delta(std::span<float>, State&, BlockPlace) const;
template void Adam::delta(std::span<double>, State&, BlockPlace) const;
template void AdamW::delta(std::span<float>, State&, BlockPlace) const;
template void AdamW::delta(std::span<double>, State&, BlockPlace) const;
template bool Adam::update(std::span<float>, double, float*, State&, BlockPlace) const;
template bool Adam::update(std::span<double>, double, double*, State&, BlockPlace) const;
template bool AdamW::update(std::span<float>, double, float*, State&, BlockPlace) const;
template bool AdamW::update(std::span<double>, double, double*, State&, BlockPlace) const;

}  // namespace rein
