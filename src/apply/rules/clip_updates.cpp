#include "rein/apply/rules/clip_updates.h"

#include <fmt/format.h>

namespace rein {

static_assert(Rule<ClipUpdates>);

ClipUpdates::State ClipUpdates::init(const Variables& variables) const {
  if (rule.moves_all())
    throw InvalidArgument(
        name,
        fmt::format("{0} moves parameters other than by deltas; put it around {1}", rule.name(),
                    name),
        Where{});
  State state;
  state.rule = rule.init(variables);
  state.clip = clip.init(variables);
  return state;
}

void ClipUpdates::begin(State& state, const Gradients& gradients) const {
  rule.begin(state.rule, gradients);
  ++state.steps;
}

void ClipUpdates::deltas(Gradients& all, State& state, const Variables& variables,
                         StepInfo& info) const {
  rule.deltas(all, state.rule, variables, info);
  info.step = state.steps;
  if (!info.skip) clip.update(all, state.clip, variables, info);
}

}  // namespace rein
