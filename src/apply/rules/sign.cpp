#include "rein/apply/rules/sign.h"

#include "apply/rules/common.h"

namespace rein {

static_assert(Rule<Lion> && Rule<Rprop>);

// ---------------------------------------------------------------- Lion

Lion::State Lion::init(const Variables& variables) const {
  check_settings(*this);
  State state;
  state.count.start(variables);
  state.m = Slot("m", variables);
  return state;
}

void Lion::begin(State& state, const Gradients& gradients) const {
  state.rate = next_rate(*this, state);
  state.count.advance(gradients);
}

template <class T>
void Lion::delta(std::span<T> d, State& state, BlockPlace place) const {
  T* const m = state.m.data<T>() + place.offset;
  const T b1 = static_cast<T>(beta1), b2 = static_cast<T>(beta2);
  const T new1 = static_cast<T>(1 - beta1), new2 = static_cast<T>(1 - beta2);
  const T rate = static_cast<T>(state.rate);
  for (size_t i = 0; i < d.size(); ++i) {
    const T direction = b1 * m[i] + new1 * d[i];
    m[i] = b2 * m[i] + new2 * d[i];
    d[i] = direction > 0 ? -rate : direction < 0 ? rate : direction;
  }
  add_weights(d, place, -state.rate * weight_decay);
}
template void Lion::delta(std::span<float>, State&, BlockPlace) const;
template void Lion::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- Rprop

Rprop::State Rprop::init(const Variables& variables) const {
  check_from_zero(name, "initial_step", initial_step);
  check_from_zero(name, "min_step", min_step);
  if (!(decrease > 0 && decrease < 1)) reject(name, "decrease", "in (0, 1)", decrease);
  if (!(increase > 1) || std::isinf(increase))
    reject(name, "increase", "a finite number above 1", increase);
  if (!(max_step >= min_step)) reject(name, "max_step", "at least min_step", max_step);
  State state;
  state.count.start(variables);
  state.previous = Slot("previous", variables);
  state.step = Slot("step", variables, initial_step);
  return state;
}

void Rprop::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

template <class T>
void Rprop::delta(std::span<T> d, State& state, BlockPlace place) const {
  T* const previous = state.previous.data<T>() + place.offset;
  T* const step = state.step.data<T>() + place.offset;
  const T down = static_cast<T>(decrease), up = static_cast<T>(increase);
  const T least = static_cast<T>(min_step), most = static_cast<T>(max_step);
  for (size_t i = 0; i < d.size(); ++i) {
    const T product = d[i] * previous[i];
    const T factor = product > 0 ? up : product < 0 ? down : 1;
    step[i] = std::min(std::max(step[i] * factor, least), most);
    const T g = product < 0 ? 0 : d[i];
    previous[i] = g;
    d[i] = g > 0 ? -step[i] : g < 0 ? step[i] : g;
  }
}
template void Rprop::delta(std::span<float>, State&, BlockPlace) const;
template void Rprop::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
