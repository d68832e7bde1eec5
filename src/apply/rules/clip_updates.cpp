#include "rein/apply/rules/clip_updates.h"

#include <fmt/format.h>

#include "apply/rules/common.h"

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
  state.rule = init_inside(name, rule, variables);
  state.clip = clip.init(variables);
  return state;
}

void ClipUpdates::deltas(Gradients& all, State& state, const Variables& variables,
                         StepInfo& info) const {
  info.step = state.steps;
  if (info.skip) return;
  clip.update(all, state.clip, variables, info);
  if (!info.skip) clip.remember(state.clip);
}

}  // namespace rein
