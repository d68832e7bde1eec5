#include "rein/apply/rules/ftrl.h"

#include "apply/rules/common.h"
#include "rein/kernels/update.h"

namespace rein {

static_assert(Rule<Ftrl>);

namespace {

double rate_above_zero(double rate) {
  if (checked_rate(Ftrl::name, rate) == 0) reject(Ftrl::name, "learning_rate", "above 0", rate);
  return rate;
}

}  // namespace

Ftrl::State Ftrl::init(const Variables& variables) const {
  if (learning_rate.is_constant()) rate_above_zero(learning_rate.at(0));
  check_from_zero(name, "initial_accumulator", initial_accumulator);
  check_from_zero(name, "l1", l1);
  check_from_zero(name, "l2", l2);
  check_from_zero(name, "l2_shrinkage", l2_shrinkage);
  check_from_zero(name, "beta", beta);
  if (!(learning_rate_power <= 0) || std::isinf(learning_rate_power))
    reject(name, "learning_rate_power", "a finite number up to 0", learning_rate_power);
  State state;
  state.count.start(variables);
  state.accumulator = Slot("accumulator", variables, initial_accumulator);
  state.linear = Slot("linear", variables);
  return state;
}

void Ftrl::prepare(State& state) const { state.rate = rate_above_zero(next_rate(*this, state)); }

void Ftrl::begin(State& state, const Gradients& gradients) const { state.count.advance(gradients); }

template <class T>
void Ftrl::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  T* const n = block_of<T>(state.accumulator, place);
  T* const z = block_of<T>(state.linear, place);
  const kernels::FtrlNumbers numbers{.rate = state.rate,
                                     .l1 = l1,
                                     .fixed = 2 * l2 + beta / state.rate,
                                     .shrinkage = 2 * l2_shrinkage};
  if (learning_rate_power == -0.5) return kernels::ftrl(d.data(), n, z, w, numbers, d.size());
  const T rate = static_cast<T>(numbers.rate), bound = static_cast<T>(l1);
  const T fixed = static_cast<T>(numbers.fixed), shrinkage = static_cast<T>(numbers.shrinkage);
  const T exponent = static_cast<T>(-learning_rate_power);
  for (size_t i = 0; i < d.size(); ++i) {
    const T sum = n[i] + d[i] * d[i];
    const T grown = std::pow(sum, exponent);
    z[i] += d[i] + shrinkage * w[i] - (grown - std::pow(n[i], exponent)) / rate * w[i];
    n[i] = sum;
    const T outside = (std::copysign(bound, z[i]) - z[i]) / (grown / rate + fixed);
    d[i] = (std::abs(z[i]) > bound ? outside : z[i] * 0) - w[i];  // inside 0, but NaN of NaN
  }
}
template void Ftrl::delta(std::span<float>, State&, BlockPlace) const;
template void Ftrl::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
