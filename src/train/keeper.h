// What a Step with a Rollback keeps.
#pragma once

#include <vector>

#include "rein/apply/rule.h"
#include "rein/process/transform.h"
#include "rein/train/rollback.h"

namespace rein {

class Keeper {
 public:
  /// Throws InvalidArgument for settings that make no sense.
  Keeper(const Rollback& settings, const AnyRule& rule, Where where);

  /// The rule with the learning rate as it is now.
  const AnyRule& rule() const { return rule_; }
  void keep(const Variables& variables, const AnyState& process, const AnyState& rule);
  /// Before processing: asks to skip a step whose loss has exploded, so that transforms do not see
  /// it. One that is not finite they may name.
  void look_at_loss(StepInfo& info, const AnyState& process, const AnyState& rule);
  /// Between processing and applying: makes a copy or goes back to one. A step that is excused is
  /// skipped, but neither bad nor healthy.
  void see(StepInfo& info, bool excused, Variables& variables, AnyState& process, AnyState& rule);
  /// After a step that was not skipped until then: if the rule has refused it, it was bad.
  void see_applied(StepInfo& info, Variables& variables, AnyState& process, AnyState& rule);

  /// Counts, and what was kept as if it were the present. The present states lend their form.
  void save(const std::string& path, AnyState& process, AnyState& rule, StateDict& out);
  /// In the pass that writes, before the present states are loaded.
  void load(const std::string& path, AnyState& process, AnyState& rule, StateReader& in);

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("healthy", self.healthy_);
    f("bad", self.bad_);
    f("rollbacks", self.rollbacks_);
    f("loss", self.kept_.loss);
  }

 private:
  struct Copy {
    std::vector<Tensor> parameters;
    Packed process, rule;
    double loss = 0;  // of the step from there; 0 before the first
  };
  bool copies_now() const { return healthy_ % settings_.every == 0; }
  bool gives_up_next() const { return bad_ >= settings_.most_bad && rollbacks_ == settings_.most; }
  void count_bad(StepInfo& info, Variables& variables, AnyState& process, AnyState& rule);
  void set_rate();

  Rollback settings_;
  AnyRule first_rule_, rule_;
  bool rule_refuses_;    // it may
  int64_t healthy_ = 0;  // steps since the copy or a rollback
  int64_t bad_ = 0;      // in a row
  int64_t rollbacks_ = 0;
  std::vector<std::string> names_;
  Copy kept_;
  // What there was before a step that may be kept or the last: the transforms' state, and the rest
  // too if the rule may still refuse the step.
  Copy coming_;
};

}  // namespace rein
