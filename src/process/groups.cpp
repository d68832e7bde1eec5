#include "rein/process/groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "process/measured.h"
#include "process/patterns.h"

namespace rein {

static_assert(Transform<Groups>);

std::vector<size_t> first_matches(std::string_view op, std::span<const std::string_view> patterns,
                                  const Variables& variables) {
  const auto& entries = variables.layout().entries;
  for (std::string_view pattern : patterns)
    if (!entries.empty() &&
        std::ranges::none_of(entries, [&](const auto& e) { return matches(pattern, e.name); })) {
      std::string names;
      for (const auto& e : entries) names += (names.empty() ? "'" : ", '") + e.name + "'";
      throw InvalidArgument(
          op, fmt::format("no variable matches '{}'; there are {}", pattern, names), Where{});
    }
  std::vector<size_t> found;
  for (const auto& entry : entries)
    found.push_back(static_cast<size_t>(
        std::ranges::find_if(patterns, [&](auto p) { return matches(p, entry.name); }) -
        patterns.begin()));
  return found;
}

Groups::State Groups::init(const Variables& variables) const {
  State state;
  std::vector<std::string_view> patterns;
  for (const Group& group : groups) patterns.push_back(group.pattern);
  state.group_of = first_matches(name, patterns, variables);
  for (const Group& group : groups) state.states.push_back(group.transform.init(variables));
  state.kinds.resize(variables.size());
  state.factors.resize(groups.size() + 1, 1.0);
  state.measured.resize(groups.size() + 1, 0);
  state.norms = Norms(variables);
  return state;
}

namespace {

// While it lives, gradients of variables that are not chosen are absent.
template <class Chosen>
class Alone {
 public:
  Alone(Gradients& gradients, std::vector<Gradients::Kind>& kinds, Chosen chosen)
      : gradients_(gradients), kinds_(kinds), chosen_(chosen) {
    for (size_t i = 0; i < kinds_.size(); ++i) {
      kinds_[i] = gradients_.kind(i);
      if (!chosen_(i)) gradients_.set_kind(i, Gradients::Kind::absent);
    }
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;
  ~Alone() {
    for (size_t i = 0; i < kinds_.size(); ++i)
      if (!chosen_(i)) gradients_.set_kind(i, kinds_[i]);
  }

 private:
  Gradients& gradients_;
  std::vector<Gradients::Kind>& kinds_;
  Chosen chosen_;
};

// Adds to the joint norms what group `k` left; false if they are not of one kind.
bool join_left(Groups::State& state, size_t k, bool first) {
  const Norms& left = state.left;
  Norms& joint = state.joint;
  if (left.of_variable.empty()) return false;
  if (first) joint.order = left.order;
  if (left.order != joint.order) return false;
  for (size_t i = 0; i < left.of_variable.size(); ++i)
    if (state.group_of[i] == k) joint.of_variable[i] = left.of_variable[i];
  Communicator* const own = left.parts.communicator;
  if (!own) return true;
  if (joint.parts.communicator && joint.parts.communicator != own) return false;
  joint.parts.communicator = own;
  for (size_t i : left.parts.variables)
    if (state.group_of[i] == k) joint.parts.variables.push_back(i);
  return true;
}

// Gives the joint norms away; `gradients` are those alone that no group measured.
void give_joint(Groups::State& state, Gradients& gradients, Norms* to) {
  if (state.joint.order != state.norms.order) {
    state.norms.order = state.joint.order;
    state.norms.take(gradients);
    state.norms.order = 2;
  }
  for (size_t i = 0; i < state.group_of.size(); ++i)
    if (!state.measured[state.group_of[i]]) state.joint.of_variable[i] = state.norms.of_variable[i];
  state.joint.leave_with(to);
}

}  // namespace

void Groups::remember(State& state) const {
  for (size_t k = 0; k < groups.size(); ++k) groups[k].transform.remember(state.states[k]);
}

void Groups::see_skipped(Gradients& gradients, State& state, const Variables& variables,
                         StepInfo& info) const {
  for (size_t k = 0; k < groups.size(); ++k) {
    const Alone alone(gradients, state.kinds, [&](size_t i) { return state.group_of[i] == k; });
    groups[k].transform.see_skipped(gradients, state.states[k], variables, info);
  }
}

void Groups::update(Gradients& gradients, State& state, const Variables& variables,
                    StepInfo& info) const {
  const double pending = gradients.scale;
  JointNorm before, after;
  const auto add = [&](const StepInfo& part) {
    before.add(part.norm);
    after.add(part.clipped_norm);
    if (info.non_finite.empty()) info.non_finite = part.non_finite;
    info.finite &= part.finite;
  };
  std::ranges::fill(state.measured, char{0});
  std::ranges::fill(state.factors, 1.0);
  state.joint.of_variable.assign(variables.size(), 0.0);
  state.joint.parts.communicator = nullptr;
  state.joint.parts.variables.clear();
  // A group knows its own variables alone: its norms must not pass for those of all.
  bool wanted = info.norms_wanted && info.norms_wanted->of_variable.empty();
  bool any = false;
  for (size_t k = 0; k < groups.size(); ++k) {
    const Alone alone(gradients, state.kinds, [&](size_t i) { return state.group_of[i] == k; });
    if (info.skip) {
      groups[k].transform.see_skipped(gradients, state.states[k], variables, info);
      continue;
    }
    StepInfo part = info;
    part.measured = part.clipped = false;
    part.norms_wanted = wanted ? &state.left : nullptr;
    state.left.of_variable.clear();
    groups[k].transform.update(gradients, state.states[k], variables, part);
    state.measured[k] = part.measured;
    state.factors[k] = gradients.scale == pending ? 1 : gradients.scale / pending;
    gradients.scale = pending;
    info.clipped |= part.clipped;
    info.skip |= part.skip;
    if (wanted && part.measured) wanted = join_left(state, k, !any);
    any |= part.measured;
    add(part.measured ? part : StepInfo{.finite = part.finite, .non_finite = part.non_finite});
  }
  if (pending != 0)
    scale_each(gradients, [&](size_t i) { return state.factors[state.group_of[i]]; });
  if (!any) return;
  const Alone alone(gradients, state.kinds,
                    [&](size_t i) { return !state.measured[state.group_of[i]]; });
  state.norms.take(gradients);
  StepInfo rest;
  state.norms.report_non_finite(gradients, rest);
  rest.norm = rest.clipped_norm = state.norms.global();
  add(rest);
  if (wanted) give_joint(state, gradients, info.norms_wanted);
  record_norms(info, before.value(), after.value());
}

}  // namespace rein
