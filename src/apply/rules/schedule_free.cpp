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
  const double weight = std::pow(static_cast<double>(state.count.steps), average_power) *
                        std::pow(state.largest_rate, rate_power);
  state.weight_sum += weight;
  state.share = state.weight_sum > 0 ? weight / state.weight_sum : 0;
}

template <class T>
void ScheduleFreeAdamW::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const y = place.weights<T>();
  T* const z = block_of<T>(state.z, place);
  T* const v = block_of<T>(state.v, place);
  if (state.count.of[place.variable] == 1) std::copy_n(y, d.size(), z);
  const double c2 = 1 - std::pow(beta2, static_cast<double>(state.count.steps));
  const T b2 = static_cast<T>(beta2), new2 = static_cast<T>(1 - beta2);
  const T factor = static_cast<T>(1 / std::sqrt(c2)), eps = static_cast<T>(epsilon);
  const T decay = static_cast<T>(weight_decay), share = static_cast<T>(state.share);
  const T z_rate = static_cast<T>(state.rate);
  const T y_rate = static_cast<T>(state.rate * (1 - beta1 * (1 - state.share)));
  for (size_t i = 0; i < d.size(); ++i) {
    v[i] = b2 * v[i] + new2 * (d[i] * d[i]);
    const T u = d[i] / (std::sqrt(v[i]) * factor + eps) + decay * y[i];
    d[i] = share * (z[i] - y[i]) - y_rate * u;
    z[i] -= z_rate * u;
  }
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
