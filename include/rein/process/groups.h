// Transforms of some of the variables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rein/base/text.h"
#include "rein/process/norms.h"
#include "rein/process/transform.h"

namespace rein {

struct Group {
  std::string pattern;  // of names of variables
  AnyTransform transform;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("pattern", self.pattern);
    f("transform", self.transform);
  }
};

/// Each variable belongs to the first group whose pattern its name matches, and each group's
/// transform sees its variables alone: a clip by the global norm takes theirs, and leaves the
/// others alone. Variables of no group stay as they are. A pattern that no variable matches throws
/// InvalidArgument: at once, or, of a model that makes its variables while a step is recorded,
/// then. Once a group asks to skip the step, those after it do not see it.
///
///     Groups{{{"embedding*", ClipByNorm{.clip_norm = 1}},
///             {"*", ClipByGlobalNorm{.clip_norm = 5}}}}
///
/// If a group measures, so does this, for all variables together: StepInfo's norms are the joint
/// norms of the groups and of what is in none. A Monitor around it learns those of each variable,
/// unless groups take norms of different orders p or over different ranks: then it measures behind
/// them.
struct Groups {
  static constexpr std::string_view name = "Groups";
  std::vector<Group> groups{};

  struct State {
    std::vector<AnyTransform::State> states;
    std::vector<size_t> group_of;        // variables; the number of groups: none
    std::vector<Gradients::Kind> kinds;  // while a group is alone
    std::vector<double> factors;         // of groups: what they left pending
    std::vector<char> measured;          // whether each did
    Norms norms;                         // of what no group measured
    Norms left, joint;                   // for a Monitor: of a group, and of all
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("states", self.states);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const;
  bool may_refuse() const { return false; }  // but its groups

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("groups", self.groups);
  }
};

/// A transform of the variables that match.
inline Groups only(std::string pattern, AnyTransform transform) {
  return {{{std::move(pattern), std::move(transform)}}};
}
/// A transform of the variables that do not match (optax.masked, Paddle's need_clip).
inline Groups except(std::string pattern, AnyTransform transform) {
  return {{{std::move(pattern), chain()}, {"*", std::move(transform)}}};
}

}  // namespace rein
