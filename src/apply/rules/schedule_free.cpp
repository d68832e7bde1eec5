#include "rein/apply/rules/schedule_free.h"

#include "apply/rules/common.h"

namespace rein {

static_assert(Rule<ScheduleFreeAdamW>);

ScheduleFreeAdamW::State ScheduleFreeAdamW::init(const Variables& variables) const {
  check_settings(*this);
  if (beta1 == 0) reject(name, "beta1", "above 0", beta1);
  check_from_zero(name, "average_power", average_power);
  check_from_zero(name, "rate_power", rate_power);
  State state;
  state.count.start(variables);
  state.z = Slot("z", variables);
  state.v = Slot("v", variables);
  return state;
}

void ScheduleFreeAdamW::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
  state.largest_rate = std::max(state.largest_rate, state.rate);
  const auto t = static_cast<double>(state.count.steps);
  state.root_factor = 1 / std::sqrt(1 - std::pow(beta2, t));
  const double weight = std::pow(t, average_power) * std::pow(state.largest_rate, rate_power);
  state.weight_sum += weight;
  state.share = state.weight_sum > 0 ? weight / state.weight_sum : 0;
}

template <class T>
void ScheduleFreeAdamW::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const y = place.weights<T>();
  T* const z = block_of<T>(state.z, place);
  if (state.count.of[place.variable] == 1) std::copy_n(y, d.size(), z);
  kernels::schedule_free(d.data(), z, block_of<T>(state.v, place), y,
                         {.beta2 = beta2,
                          .new2 = 1 - beta2,
                          .root_factor = state.root_factor,
                          .epsilon = epsilon,
                          .decay = weight_decay,
                          .share = state.share,
                          .z_rate = state.rate,
                          .y_rate = state.rate * (1 - beta1 * (1 - state.share))},
                         d.size());
}
template void ScheduleFreeAdamW::delta(std::span<float>, State&, BlockPlace) const;
template void ScheduleFreeAdamW::delta(std::span<double>, State&, BlockPlace) const;

Tensor ScheduleFreeAdamW::average(const State& state, const Variable& variable, Where where) const {
  Tensor x = variable.read();
  if (state.count.of.at(variable.index) == 0) return x;
  const Tensor z = state.z.read(variable, where);
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto fast = z.flat<T>();
    const auto out = x.flat<T>();
    const T back = static_cast<T>(1 - 1 / beta1);
    for (size_t i = 0; i < out.size(); ++i) out[i] += back * (fast[i] - out[i]);
  });
  return x;
}

}  // namespace rein
