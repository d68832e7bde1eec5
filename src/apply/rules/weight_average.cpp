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

// a += share (w - a), and then w = a if it is to be handed back.
template <class T>
void move_average(Slot& average, std::span<T> w, double share, bool hand_back, ThreadTeam& team) {
  T* const a = average.data<T>();
  const T part = static_cast<T>(share);
  for_tiles(&team, w.size(), [&](size_t begin, size_t end) {
    if (part == 1)
      std::copy(w.data() + begin, w.data() + end, a + begin);
    else if (part != 0)
      for (size_t i = begin; i < end; ++i) a[i] += part * (w[i] - a[i]);
    if (hand_back) std::copy(a + begin, a + end, w.data() + begin);
  });
}

// How many updates an average has had after so many steps.
int64_t updates(const WeightAverage& rule, int64_t steps) {
  return steps < rule.first ? 0 : 1 + (steps - rule.first) / rule.every;
}

// Of the present weights, at the n-th update.
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
  state.rule = init_inside(name, rule, variables);
  state.average = Slot("average", variables);
  return state;
}

void WeightAverage::before(State& state, const Variables& variables) const {
  const bool wanted = averaging == Averaging::from_initial || averaging == Averaging::warming;
  if (wanted && state.steps == first) copy_block(variables, state.average);
}

template <class T>
void WeightAverage::after(State& state, std::span<T> parameters, ThreadTeam& team) const {
  const int64_t n = updates(*this, state.steps);
  const bool due = n != updates(*this, state.steps - 1);
  const bool overwrite = n > 0 && overwrite_every > 0 && state.steps % overwrite_every == 0;
  if (due || overwrite)
    move_average(state.average, parameters, due ? share(*this, n) : 0, overwrite, team);
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
  state.rule = init_inside(name, rule, variables);
  state.slow = Slot("slow", variables);
  if (reset_state) state.rule.pack(state.fresh);
  return state;
}

void Lookahead::before(State& state, const Variables& variables) const {
  if (state.steps == 1) copy_block(variables, state.slow);
}

template <class T>
void Lookahead::after(State& state, std::span<T> parameters, ThreadTeam& team) const {
  if (state.steps % sync_period != 0) return;
  move_average(state.slow, parameters, slow_step_size, true, team);
  if (!reset_state) return;
  state.fresh.rewind();
  state.rule.unpack(state.fresh);
}
template void Lookahead::after(State&, std::span<float>, ThreadTeam&) const;
template void Lookahead::after(State&, std::span<double>, ThreadTeam&) const;

Tensor Lookahead::average(const State& state, const Variable& variable) const {
  return state.steps > 0 ? state.slow.read(variable) : variable.read();
}

}  // namespace rein
