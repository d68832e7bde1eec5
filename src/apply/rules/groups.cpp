#include "rein/apply/rules/groups.h"

#include "apply/rules/common.h"
#include "process/patterns.h"

namespace rein {

static_assert(Rule<RuleGroups>);

const AnyRule& RuleGroups::rule_of(size_t group) const {
  return group < groups.size() ? groups[group].rule : otherwise;
}

SparseUpdate RuleGroups::sparse_update(State& state, size_t variable) const {
  const size_t g = state.group_of[variable];
  return rule_of(g).sparse_update(state.states[g], variable);
}

bool RuleGroups::whole_variable(State& state, size_t variable) const {
  const size_t g = state.group_of[variable];
  return rule_of(g).whole_variable(state.states[g], variable);
}

RuleGroups::State RuleGroups::init(const Variables& variables) const {
  for (size_t g = 0; g <= groups.size(); ++g) check_part(name, rule_of(g));
  std::vector<std::string_view> patterns;
  for (const Group& group : groups) patterns.push_back(group.pattern);
  State state;
  state.group_of = first_matches(name, patterns, variables);
  state.shift.resize(variables.size());
  for (size_t g = 0; g <= groups.size(); ++g) {
    std::vector<bool> own;
    for (const size_t of : state.group_of) own.push_back(of == g);
    Part part = init_part(rule_of(g), variables, own);
    for (size_t i = 0; i < own.size(); ++i)
      if (own[i]) state.shift[i] = part.shift[i];
    state.states.push_back(std::move(part.state));
  }
  return state;
}

void RuleGroups::prepare(State& state, const Gradients& gradients) const {
  for (size_t g = 0; g <= groups.size(); ++g) rule_of(g).prepare(state.states[g], gradients);
}

void RuleGroups::begin(State& state, const Gradients& gradients) const {
  for (size_t g = 0; g <= groups.size(); ++g) rule_of(g).begin(state.states[g], gradients);
}

void RuleGroups::before(State& state, const Variables& variables) const {
  for (size_t g = 0; g <= groups.size(); ++g) rule_of(g).before(state.states[g], variables);
}

template <class T>
void RuleGroups::delta(std::span<T> d, State& state, BlockPlace place) const {
  const size_t g = state.group_of[place.variable];
  rule_of(g).delta(d, state.states[g], place_in(state.shift, place));
}
template void RuleGroups::delta(std::span<float>, State&, BlockPlace) const;
template void RuleGroups::delta(std::span<double>, State&, BlockPlace) const;

Tensor RuleGroups::average(State& state, const Variable& variable) const {
  const size_t g = state.group_of.at(variable.index);
  return rule_of(g).average(state.states[g], variable);
}

}  // namespace rein
