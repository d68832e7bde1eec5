// Different rules for different variables.
#pragma once

#include <string>

#include "rein/apply/rule.h"

namespace rein {

/// Each variable is moved by the rule of the first group whose pattern matches its name (`matches`,
/// in rein/base/text.h), or by `otherwise`:
///
///     RuleGroups{.groups = {{"*bias", Adam{}}, {"embedding*", Adagrad{}}}, .otherwise = AdamW{}}
///
/// Every rule counts its own steps, and remembers nothing of variables that are not its own. A
/// pattern that no variable matches throws InvalidArgument, as one of `Groups` does. A rule with
/// `after` moves variables of all groups: as the rule of one it is an InvalidArgument; put it
/// around the groups.
struct RuleGroups {
  static constexpr std::string_view name = "RuleGroups";
  struct Group {
    std::string pattern;
    AnyRule rule;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("pattern", self.pattern);
      f("rule", self.rule);
    }
  };
  std::vector<Group> groups;
  AnyRule otherwise;

  struct State {
    std::vector<AnyRule::State> states;  // of the groups, then of `otherwise`
    std::vector<size_t> group_of;        // per variable
    std::vector<size_t> shift;           // per variable: of its place in the slots of its rule
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("states", self.states);
    }
  };
  SparseUpdate sparse_update(State& state, size_t variable) const;
  bool whole_variable(State& state, size_t variable) const;
  State init(const Variables& variables) const;
  void prepare(State& state, const Gradients& gradients) const;
  void begin(State& state, const Gradients& gradients) const;
  void before(State& state, const Variables& variables) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  template <class T>
  bool update(std::span<T> gradient, double scale, T* parameters, State& state,
              BlockPlace place) const {
    const size_t g = state.group_of[place.variable];
    place.offset -= state.shift[place.variable];
    return rule_of(g).update(gradient, scale, parameters, state.states[g], place);
  }
  Tensor average(State& state, const Variable& variable) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("groups", self.groups);
    f("otherwise", self.otherwise);
  }

 private:
  const AnyRule& rule_of(size_t group) const;
};

}  // namespace rein
