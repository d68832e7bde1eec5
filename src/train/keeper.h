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
  void look_at_loss(StepInfo& info, const AnyState& process);
  /// Between processing and applying: keeps a copy or goes back to it. A step that is excused is
  /// skipped, but neither bad nor healthy.
  void see(StepInfo& info, bool excused, Variables& variables, AnyState& process, AnyState& rule);

  /// Counts, and what was kept as if it were the present. The present states lend their form.
  void save(const std::string& path, AnyState& process, AnyState& rule, StateDict& out);
  /// In the pass that writes, before the present states are loaded.
  void load(const std::string& path, AnyState& process, AnyState& rule, StateReader& in);

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("healthy", self.healthy_);
    f("bad", self.bad_);
    f("rollbacks", self.rollbacks_);
    f("loss", self.loss_);
  }

 private:
  bool copies_now() const { return healthy_ % settings_.every == 0; }
  bool gives_up_next() const { return bad_ >= settings_.most_bad && rollbacks_ == settings_.most; }
  void set_rate();

  Rollback settings_;
  AnyRule first_rule_, rule_;
  int64_t healthy_ = 0;  // steps since the copy or a rollback
  int64_t bad_ = 0;      // in a row
  int64_t rollbacks_ = 0;
  double loss_ = 0;  // of the step with the copy; 0 before the first
  std::vector<std::string> names_;
  std::vector<Tensor> parameters_;
  Packed process_state_, rule_state_;
  // The transforms' state before they see the gradients of a step that may be kept or the last.
  Packed coming_;
};

}  // namespace rein
