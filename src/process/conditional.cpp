#include "rein/process/conditional.h"

#include <algorithm>

#include "process/pieces.h"

namespace rein {

static_assert(Transform<Conditional>);

namespace {

void set_to_zero(Gradients& gradients, StepInfo& info) {
  visit_float(gradients.dtype(), [&](auto zero) {
    for_each_piece<decltype(zero)>(gradients,
                                   [&](size_t, auto x) { std::ranges::fill(x, decltype(zero){}); });
  });
  gradients.scale = 1;
  if (info.measured) info.clipped_norm = 0;
}

}  // namespace

Conditional::State Conditional::init(const Variables& variables) const {
  return {.transform = transform.init(variables)};
}

void Conditional::update(Gradients& gradients, State& state, const Variables& variables,
                         StepInfo& info) const {
  state.ran = condition(state.before, info);
  if (state.ran)
    transform.update(gradients, state.transform, variables, info);
  else if (mask)
    set_to_zero(gradients, info);
}

void Conditional::see_skipped(Gradients& gradients, State& state, const Variables& variables,
                              StepInfo& info) const {
  transform.see_skipped(gradients, state.transform, variables, info);
}

void Conditional::remember(State& state) const {
  ++state.before;
  if (state.ran) transform.remember(state.transform);
}

}  // namespace rein
