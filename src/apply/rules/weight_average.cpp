#include "rein/apply/rules/weight_average.h"

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"

namespace rein {

static_assert(Rule<WeightAverage> && Rule<Lookahead>);

std::string_view to_string(Averaging averaging) {
  switch (averaging) {
    case Averaging::exponential:
      return "exponential";
    case Averaging::from_initial:
      return "from_initial";
    case Averaging::warming:
      return "warming";
    case Averaging::corrected:
      return "corrected";
    case Averaging::equal:
      return "equal";
  }
  return "unknown";
}

namespace {

void copy_block(const Variables& variables, Slot& slot) {
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::copy_n(static_cast<const T*>(variables.block()), variables.layout().size, slot.data<T>());
  });
}

// a += share (w - a).
template <class T>
void take_in(std::span<const T> w, Slot& average, double share, ThreadTeam& team) {
  T* const a = average.data<T>();
  const T part = static_cast<T>(share);
  for_tiles(&team, w.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) a[i] = part == 1 ? w[i] : a[i] + part * (w[i] - a[i]);
  });
}

// w = a.
template <class T>
void hand_back(std::span<T> w, Slot& average, ThreadTeam& team) {
  const T* const a = average.data<T>();
  for_tiles(&team, w.size(),
            [&](size_t begin, size_t end) { std::copy(a + begin, a + end, w.data() + begin); });
}

// How many updates an average has had after so many steps.
int64_t updates(const WeightAverage& rule, int64_t steps) {
  return steps < rule.first ? 0 : 1 + (steps - rule.first) / rule.every;
}

double share(const WeightAverage& rule, int64_t update) {
  const auto n = static_cast<double>(update);
  switch (rule.averaging) {
    case Averaging::exponential:
      return update == 1 ? 1 : 1 - rule.decay;
    case Averaging::warming:
      return 1 - std::min(rule.decay, (1 + n) / (10 + n));
    case Averaging::corrected:
      return (1 - rule.decay) / (1 - std::pow(rule.decay, n));
    case Averaging::equal:
      return 1 / n;
    case Averaging::from_initial:
      break;
  }
  return 1 - rule.decay;
}

void check_count(std::string_view rule, std::string_view setting, int64_t value, int64_t least) {
  if (value < least)
    reject(rule, setting, least == 0 ? "a number of steps, or 0" : "a number of steps from 1 on",
           static_cast<double>(value));
}

}  // namespace

WeightAverage::State WeightAverage::init(const Variables& variables) const {
  check_fraction(name, "decay", decay);
  check_count(name, "first", first, 1);
  check_count(name, "every", every, 1);
  check_count(name, "overwrite_every", overwrite_every, 0);
  State state;
  state.rule = rule.init(variables);
  state.average = Slot("average", variables);
  return state;
}

void WeightAverage::begin(State& state, const Gradients& gradients) const {
  rule.begin(state.rule, gradients);
  ++state.steps;
}

void WeightAverage::before(State& state, const Variables& variables) const {
  rule.before(state.rule, variables);
  const bool wanted = averaging == Averaging::from_initial || averaging == Averaging::warming;
  if (wanted && state.steps == first) copy_block(variables, state.average);
}

template <class T>
void WeightAverage::after(State& state, std::span<T> parameters, ThreadTeam& team) const {
  rule.after(state.rule, parameters, team);
  const int64_t n = updates(*this, state.steps);
  if (n == 0) return;
  if (n != updates(*this, state.steps - 1))
    take_in<T>(parameters, state.average, share(*this, n), team);
  if (overwrite_every > 0 && state.steps % overwrite_every == 0)
    hand_back(parameters, state.average, team);
}
template void WeightAverage::after(State&, std::span<float>, ThreadTeam&) const;
template void WeightAverage::after(State&, std::span<double>, ThreadTeam&) const;

Tensor WeightAverage::average(const State& state, const Variable& variable) const {
  return updates(*this, state.steps) > 0 ? state.average.read(variable) : variable.read();
}

// ---------------------------------------------------------------- lookahead

Lookahead::State Lookahead::init(const Variables& variables) const {
  check_count(name, "sync_period", sync_period, 1);
  if (!(slow_step_size >= 0 && slow_step_size <= 1))
    reject(name, "slow_step_size", "in [0, 1]", slow_step_size);
  State state;
  state.rule = rule.init(variables);
  state.slow = Slot("slow", variables);
  return state;
}

void Lookahead::begin(State& state, const Gradients& gradients) const {
  rule.begin(state.rule, gradients);
  ++state.steps;
}

void Lookahead::before(State& state, const Variables& variables) const {
  rule.before(state.rule, variables);
  if (state.steps == 1) copy_block(variables, state.slow);
}

template <class T>
void Lookahead::after(State& state, std::span<T> parameters, ThreadTeam& team) const {
  rule.after(state.rule, parameters, team);
  if (state.steps % sync_period != 0) return;
  take_in<T>(parameters, state.slow, slow_step_size, team);
  hand_back(parameters, state.slow, team);
}
template void Lookahead::after(State&, std::span<float>, ThreadTeam&) const;
template void Lookahead::after(State&, std::span<double>, ThreadTeam&) const;

Tensor Lookahead::average(const State& state, const Variable& variable) const {
  return state.steps > 0 ? state.slow.read(variable) : variable.read();
}

}  // namespace rein
