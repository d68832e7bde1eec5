#include "rein/apply/rules/sign.h"

#include "apply/rules/common.h"
#include "rein/kernels/update.h"

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

void Lion::begin(State& state, const Gradients& gradients) const { state.count.advance(gradients); }

template <class T>
void Lion::delta(std::span<T> d, State& state, BlockPlace place) const {
  const kernels::LionNumbers numbers{
      .beta1 = beta1, .new1 = 1 - beta1, .beta2 = beta2, .new2 = 1 - beta2, .rate = state.rate};
  kernels::lion(d.data(), block_of<T>(state.m, place), numbers, d.size());
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
  kernels::rprop(d.data(), block_of<T>(state.previous, place), block_of<T>(state.step, place),
                 {decrease, increase, min_step, max_step}, d.size());
}
template void Rprop::delta(std::span<float>, State&, BlockPlace) const;
template void Rprop::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
