// Stage 3: update rules turn gradients into deltas; `apply_updates` adds them to the parameters,
// and nothing else does.
#pragma once

#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rein/base/schedule.h"
#include "rein/process/shards.h"
#include "rein/process/step_info.h"
#include "rein/tensor/state.h"

namespace rein {

/// How a rule wants a sparse gradient.
enum class SparseUpdate : uint8_t {
  rows,  // only the rows that are there are seen
  dense  // as the dense gradient that it stands for: what the rule remembers decays everywhere
};

/// What a block of numbers belongs to.
struct BlockPlace {
  size_t variable = 0;
  size_t offset = 0;                 // in the slots
  const void* parameters = nullptr;  // the block's own, before the update
  ThreadTeam* team = nullptr;        // who may help a rule that has a whole variable

  template <class T>
  const T* weights() const {
    return static_cast<const T*>(parameters);
  }
};

class AnyRule;

/// Has another rule as `AnyRule rule`, and what that remembers as `rule` of its State. What it does
/// in `prepare`, `begin`, `before`, `deltas`, `remember`, `take_back` and `after` comes after what
/// that rule does there, its `average` stands in place of that rule's, and all else that rule does.
template <class R>
concept GoesAround = requires(const R r, typename R::State& state) {
  { r.rule } -> std::same_as<const AnyRule&>;
  { state.rule } -> std::same_as<AnyState&>;
};

template <class R>
concept MakesDeltas = requires(const R r, typename R::State& state, const Gradients& gradients,
                               std::span<float> f, std::span<double> d, BlockPlace place) {
  requires requires {
    { r.sparse_update() } -> std::same_as<SparseUpdate>;
  } || requires {
    { r.sparse_update(state, size_t{}) } -> std::same_as<SparseUpdate>;
    { r.whole_variable(state, size_t{}) } -> std::same_as<bool>;
  };
  { r.begin(state, gradients) } -> std::same_as<void>;
  { r.delta(f, state, place) } -> std::same_as<void>;
  { r.delta(d, state, place) } -> std::same_as<void>;
};

/// An update rule: public settings, and a State apart from them that `init` makes, throwing
/// InvalidArgument for settings that make no sense. Both list their fields (rein/base/fields.h),
/// the State those that outlive a step; else the state cannot be saved.
///  - `prepare(state)`, or `prepare(state, gradients)`, comes first in a step, when gradients are
///    not there yet: it evaluates schedules, once, into what of the state does not outlive a step,
///    and throws if their values make no sense. A rule needs none if
///    `state.rate = next_rate(rule, state)` is all of it;
///  - `begin` then counts the step and makes bias corrections; it must not throw;
///  - `delta` turns a block of gradients of one variable into what is to be added to the
///    parameters, in place, and updates the slots there; called from several threads for different
///    blocks, it must not throw;
///  - `update`, if it has one, does all of it for a block, to the same bits as scale, delta and
///    addition one after the other, or returns false because it cannot with these settings. For a
///    whole variable the gradient's place is its own, as with `delta`;
///  - `slots`, of a State that does not list its fields, says what it remembers;
///  - `average(state, variable)`, if it has one, is what to evaluate with in place of the
///    variable's numbers;
///  - `before`, if it has one, sees all parameters before the first delta is added, and `after` the
///    whole block of them once all are: it may move them further;
///  - `deltas(all, state, variables, info)`, if it has one, sees all deltas of a step before the
///    first is added, and may change them, or set `info.skip`. They stand where the gradients were,
///    with `all.scale` still to be multiplied. Afterwards `remember(state)` if they are added; if
///    they are not, for `info.skip` or an error, `take_back(state)`: what `begin` and those after
///    it have changed. Both are there if they are needed, and must not throw;
///  - a rule that needs all of a variable at once (its norm, its rows) says
///    `static constexpr bool whole_variable = true`. Then `delta` gets one variable after the
///    other, each in one block (sparse gradients as dense ones), and may share its work with
///    `place.team`, whose size must not change the result;
///  - a rule that keeps the parameters where nobody else may move or average them says
///    `static constexpr bool moves_alone = true`.
/// A rule of which variables get different treatment has `sparse_update(state, variable)` and
/// `whole_variable(state, variable)` in place of those. One that `GoesAround` another needs only
/// `init`.
template <class R>
concept Rule = requires(const R r, typename R::State& state, const Variables& variables) {
  { R::name } -> std::convertible_to<std::string_view>;
  { r.init(variables) } -> std::same_as<typename R::State>;
  requires GoesAround<R> || MakesDeltas<R>;
  requires HasFields<typename R::State> || requires {
    { r.slots(state) } -> std::same_as<std::vector<Slot*>>;
  };
};

/// `rate`, if it is a finite number from 0 on; else throws InvalidArgument.
double checked_rate(std::string_view rule, double rate);
/// The learning rate of the coming step. Throws as `checked_rate`.
template <class R>
double next_rate(const R& rule, const typename R::State& state) {
  return checked_rate(R::name, rule.learning_rate.at(state.count.steps));
}

/// Any rule, as a value.
class AnyRule {
 public:
  using State = AnyState;

  template <class R>
  requires(!std::same_as<R, AnyRule>) && Rule<R> AnyRule(R rule)
      : self_(std::make_shared<const Holder<R>>(std::move(rule))) {}

  std::string_view name() const { return self_->name(); }
  SparseUpdate sparse_update(State& state, size_t variable) const {
    return self_->sparse_update(state, variable);
  }
  bool whole_variable(State& state, size_t variable) const {
    return self_->whole_variable(state, variable);
  }
  /// Throws InvalidArgument for settings that make no sense.
  State init(const Variables& variables) const { return self_->init(variables); }
  void prepare(State& state, const Gradients& gradients) const { self_->prepare(state, gradients); }
  void begin(State& state, const Gradients& gradients) const { self_->begin(state, gradients); }
  void delta(std::span<float> d, State& state, BlockPlace place) const {
    self_->delta(d, state, place);
  }
  void delta(std::span<double> d, State& state, BlockPlace place) const {
    self_->delta(d, state, place);
  }
  bool update(std::span<float> gradient, double scale, float* parameters, State& state,
              BlockPlace place) const {
    return self_->update(gradient, scale, parameters, state, place);
  }
  bool update(std::span<double> gradient, double scale, double* parameters, State& state,
              BlockPlace place) const {
    return self_->update(gradient, scale, parameters, state, place);
  }
  void before(State& state, const Variables& variables) const { self_->before(state, variables); }
  void after(State& state, std::span<float> parameters, ThreadTeam& team) const {
    self_->after(state, parameters, team);
  }
  void after(State& state, std::span<double> parameters, ThreadTeam& team) const {
    self_->after(state, parameters, team);
  }
  void deltas(Gradients& all, State& state, const Variables& variables, StepInfo& info) const {
    self_->deltas(all, state, variables, info);
  }
  void remember(State& state) const { self_->remember(state); }
  void take_back(State& state) const { self_->take_back(state); }
  /// Whether it has `deltas`: the step then takes two more passes over memory.
  bool sees_deltas() const { return self_->sees_deltas(); }
  /// What to evaluate with: an average of the variable's numbers, if the rule keeps one, else they
  /// themselves.
  Tensor average(State& state, const Variable& variable) const {
    return self_->average(state, variable);
  }
  /// The learning rate of the last step, if the rule, or the one that it goes around, has one; else
  /// 0.
  double rate(State& state) const { return self_->rate(state); }
  /// The same rule with `factor` times the learning rate, of all rules that it is made of: every
  /// Schedule whose name ends so. States of the one are states of the other.
  AnyRule slowed(double factor) const { return self_->slowed(factor); }
  /// Whether it has `after`.
  bool moves_all() const { return self_->moves_all(); }
  /// The name of the rule, this or the first of those that it is made of, that `moves_alone`; or
  /// that has no Schedule `learning_rate` among its fields. Empty if there is none.
  std::string_view lone_part() const {
    return part_where([](const Interface& rule) { return rule.moves_alone(); });
  }
  std::string_view part_without_rate() const {
    return part_where([](const Interface& rule) { return !rule.has_rate(); });
  }
  /// Whether it is made of other rules.
  bool is_composed() const { return !self_->parts().empty(); }
  /// Adds the shards that transforms among its fields name, and those of rules that it is made of.
  void find_shards(std::vector<Shards>& found) const { self_->find_shards(found); }
  std::vector<Slot*> slots(State& state) const { return self_->slots(state); }
  /// Its name and settings.
  void describe(std::string_view path, Settings& out) const { self_->describe(path, out); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::string_view name() const = 0;
    virtual SparseUpdate sparse_update(State& state, size_t variable) const = 0;
    virtual bool whole_variable(State& state, size_t variable) const = 0;
    virtual State init(const Variables& variables) const = 0;
    virtual void prepare(State& state, const Gradients& gradients) const = 0;
    virtual void begin(State& state, const Gradients& gradients) const = 0;
    virtual void delta(std::span<float> d, State& state, BlockPlace place) const = 0;
    virtual void delta(std::span<double> d, State& state, BlockPlace place) const = 0;
    virtual bool update(std::span<float> gradient, double scale, float* parameters, State& state,
                        BlockPlace place) const = 0;
    virtual bool update(std::span<double> gradient, double scale, double* parameters, State& state,
                        BlockPlace place) const = 0;
    virtual void before(State& state, const Variables& variables) const = 0;
    virtual void after(State& state, std::span<float> parameters, ThreadTeam& team) const = 0;
    virtual void after(State& state, std::span<double> parameters, ThreadTeam& team) const = 0;
    virtual void deltas(Gradients& all, State& state, const Variables& variables,
                        StepInfo& info) const = 0;
    virtual void remember(State& state) const = 0;
    virtual void take_back(State& state) const = 0;
    virtual bool sees_deltas() const = 0;
    virtual Tensor average(State& state, const Variable& variable) const = 0;
    virtual double rate(State& state) const = 0;
    virtual AnyRule slowed(double factor) const = 0;
    virtual bool moves_all() const = 0;
    virtual bool moves_alone() const = 0;
    virtual bool has_rate() const = 0;
    virtual std::vector<AnyRule> parts() const = 0;
    virtual void find_shards(std::vector<Shards>& found) const = 0;
    virtual std::vector<Slot*> slots(State& state) const = 0;
    virtual void describe(std::string_view path, Settings& out) const = 0;
  };
  template <class F>
  std::string_view part_where(F is) const {
    if (is(*self_)) return name();
    for (const AnyRule& part : self_->parts())
      if (const std::string_view found = part.part_where(is); !found.empty()) return found;
    return {};
  }
  struct PartCollector {
    std::vector<AnyRule>& parts;
    const AnyRule* known = nullptr;  // is there already
    void leaf(const std::string&, const AnyRule& part) const {
      if (&part != known) parts.push_back(part);
    }
    template <class T>
    void leaf(const std::string&, const T&) const {}
  };
  static bool is_rate(std::string_view path) { return path.ends_with("learning_rate"); }
  struct RateFinder {
    bool& found;
    void leaf(const std::string& path, const Schedule&) const { found |= is_rate(path); }
    template <class T>
    void leaf(const std::string&, const T&) const {}
  };
  struct Slower {
    double factor;
    void leaf(const std::string& path, Schedule& s) const {
      if (is_rate(path)) s = s.times(factor);
    }
    void leaf(const std::string&, AnyRule& r) const { r = r.slowed(factor); }
    template <class T>
    void leaf(const std::string&, T&) const {}
  };
  template <class R>
  struct Holder final : Interface {
    explicit Holder(R r) : rule(std::move(r)) {}
    static typename R::State& cast(State& s) { return s.as<typename R::State>(); }
    std::string_view name() const override { return R::name; }
    SparseUpdate sparse_update([[maybe_unused]] State& s,
                               [[maybe_unused]] size_t variable) const override {
      if constexpr (GoesAround<R>)
        return rule.rule.sparse_update(cast(s).rule, variable);
      else if constexpr (requires { rule.sparse_update(); })
        return rule.sparse_update();
      else
        return rule.sparse_update(cast(s), variable);
    }
    bool whole_variable([[maybe_unused]] State& s,
                        [[maybe_unused]] size_t variable) const override {
      if constexpr (GoesAround<R>)
        return rule.rule.whole_variable(cast(s).rule, variable);
      else if constexpr (requires { rule.whole_variable(cast(s), variable); })
        return rule.whole_variable(cast(s), variable);
      else if constexpr (requires { R::whole_variable; })
        return R::whole_variable;
      else
        return false;
    }
    State init(const Variables& variables) const override { return State(rule.init(variables)); }
    void prepare([[maybe_unused]] State& s,
                 [[maybe_unused]] const Gradients& gradients) const override {
      if constexpr (GoesAround<R>) rule.rule.prepare(cast(s).rule, gradients);
      if constexpr (requires { rule.prepare(cast(s), gradients); })
        rule.prepare(cast(s), gradients);
      else if constexpr (requires { rule.prepare(cast(s)); })
        rule.prepare(cast(s));
      else if constexpr (requires { cast(s).rate = next_rate(rule, cast(s)); })
        cast(s).rate = next_rate(rule, cast(s));
    }
    void begin(State& s, const Gradients& gradients) const override {
      if constexpr (GoesAround<R>) rule.rule.begin(cast(s).rule, gradients);
      if constexpr (requires { rule.begin(cast(s), gradients); }) rule.begin(cast(s), gradients);
    }
    void delta(std::span<float> d, State& s, BlockPlace place) const override {
      delta_of(d, s, place);
    }
    void delta(std::span<double> d, State& s, BlockPlace place) const override {
      delta_of(d, s, place);
    }
    bool update(std::span<float> gradient, double scale, float* parameters, State& s,
                BlockPlace place) const override {
      return update_all(gradient, scale, parameters, s, place);
    }
    bool update(std::span<double> gradient, double scale, double* parameters, State& s,
                BlockPlace place) const override {
      return update_all(gradient, scale, parameters, s, place);
    }
    void before([[maybe_unused]] State& s, [[maybe_unused]] const Variables& v) const override {
      if constexpr (GoesAround<R>) rule.rule.before(cast(s).rule, v);
      if constexpr (requires { rule.before(cast(s), v); }) rule.before(cast(s), v);
    }
    void after(State& s, std::span<float> parameters, ThreadTeam& team) const override {
      after_all(s, parameters, team);
    }
    void after(State& s, std::span<double> parameters, ThreadTeam& team) const override {
      after_all(s, parameters, team);
    }
    void deltas([[maybe_unused]] Gradients& all, [[maybe_unused]] State& s,
                [[maybe_unused]] const Variables& variables,
                [[maybe_unused]] StepInfo& info) const override {
      if constexpr (GoesAround<R>) rule.rule.deltas(all, cast(s).rule, variables, info);
      if constexpr (kSeesDeltas) rule.deltas(all, cast(s), variables, info);
    }
    void remember([[maybe_unused]] State& s) const override {
      if constexpr (GoesAround<R>) rule.rule.remember(cast(s).rule);
      if constexpr (requires { rule.remember(cast(s)); }) rule.remember(cast(s));
    }
    void take_back([[maybe_unused]] State& s) const override {
      if constexpr (GoesAround<R>) rule.rule.take_back(cast(s).rule);
      if constexpr (requires { rule.take_back(cast(s)); }) rule.take_back(cast(s));
    }
    bool sees_deltas() const override {
      if constexpr (GoesAround<R>)
        return kSeesDeltas || rule.rule.sees_deltas();
      else
        return kSeesDeltas;
    }
    Tensor average([[maybe_unused]] State& s, const Variable& variable) const override {
      if constexpr (requires { rule.average(cast(s), variable); })
        return rule.average(cast(s), variable);
      else if constexpr (GoesAround<R>)
        return rule.rule.average(cast(s).rule, variable);
      else
        return variable.read();
    }
    double rate([[maybe_unused]] State& s) const override {
      if constexpr (GoesAround<R>)
        return rule.rule.rate(cast(s).rule);
      else if constexpr (requires { cast(s).rate; })
        return cast(s).rate;
      else
        return 0;
    }
    AnyRule slowed(double factor) const override {
      R slower = rule;
      if constexpr (HasFields<R>) visit_fields("", slower, Slower{factor});
      if constexpr (GoesAround<R>) slower.rule = rule.rule.slowed(factor);  // listed or not
      return slower;
    }
    bool moves_all() const override {
      if constexpr (GoesAround<R>)
        return kMovesAll || rule.rule.moves_all();
      else
        return kMovesAll;
    }
    bool moves_alone() const override {
      return requires { requires R::moves_alone; };
    }
    bool has_rate() const override {
      bool listed = false;  // where `slowed` finds it
      if constexpr (HasFields<R>) visit_fields("", rule, RateFinder{listed});
      constexpr bool own = requires(const R r) { r.learning_rate; };
      return listed || (!own && !parts().empty());  // one that only hands on has those of its parts
    }
    std::vector<AnyRule> parts() const override {
      std::vector<AnyRule> found;
      const AnyRule* known = nullptr;
      if constexpr (GoesAround<R>) found.push_back(*(known = &rule.rule));
      if constexpr (HasFields<R>) visit_fields("", rule, PartCollector{found, known});
      return found;
    }
    void find_shards([[maybe_unused]] std::vector<Shards>& found) const override {
      if constexpr (GoesAround<R>) rule.rule.find_shards(found);  // listed or not
      if constexpr (HasFields<R>) visit_fields("", rule, ShardsFinder{found});
    }
    std::vector<Slot*> slots(State& s) const override {
      if constexpr (requires { rule.slots(cast(s)); })
        return rule.slots(cast(s));
      else
        return s.slots();
    }
    void describe(std::string_view path, Settings& out) const override {
      out.fields.push_back({std::string(path), std::string(R::name)});
      if constexpr (HasFields<R>) rein::describe(path, rule, out);
    }
    template <class T>
    void delta_of(std::span<T> d, State& s, BlockPlace place) const {
      if constexpr (GoesAround<R>)
        rule.rule.delta(d, cast(s).rule, place);
      else
        rule.delta(d, cast(s), place);
    }
    template <class T>
    bool update_all(std::span<T> gradient, double scale, T* parameters, State& s,
                    BlockPlace place) const {
      if constexpr (GoesAround<R>)
        return rule.rule.update(gradient, scale, parameters, cast(s).rule, place);
      else if constexpr (requires { rule.update(gradient, scale, parameters, cast(s), place); })
        return rule.update(gradient, scale, parameters, cast(s), place);
      else
        return false;
    }
    template <class T>
    void after_all([[maybe_unused]] State& s, [[maybe_unused]] std::span<T> parameters,
                   [[maybe_unused]] ThreadTeam& team) const {
      if constexpr (GoesAround<R>) rule.rule.after(cast(s).rule, parameters, team);
      if constexpr (kMovesAll) rule.after(cast(s), parameters, team);
    }
    static constexpr bool kMovesAll =
        requires(const R r, typename R::State& s, std::span<float> parameters, ThreadTeam& team) {
      r.after(s, parameters, team);
    };
    static constexpr bool kSeesDeltas = requires(const R r, Gradients& all, typename R::State& s,
                                                 const Variables& variables, StepInfo& info) {
      r.deltas(all, s, variables, info);
    };
    R rule;
  };
  std::shared_ptr<const Interface> self_;
};

}  // namespace rein
