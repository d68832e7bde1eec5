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
  state.may_refuse = clip.may_refuse();
  if (state.may_refuse) state.rule.pack(state.before);
  return state;
}

void ClipUpdates::prepare(State& state, const Gradients& gradients) const {
  state.before.clear();
  if (state.may_refuse || gradients.partial) state.rule.pack(state.before);
}

void ClipUpdates::deltas(Gradients& all, State& state, const Variables& variables,
                         StepInfo& info) const {
  info.step = state.steps;
  if (!info.skip) clip.update(all, state.clip, variables, info);
}

void ClipUpdates::take_back(State& state) const {
  --state.steps;
  if (state.before.empty()) return;
  state.before.rewind();
  state.rule.unpack(state.before);
}

}  // namespace rein
