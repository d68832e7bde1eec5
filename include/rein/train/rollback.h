// Going back when a training diverges.
#pragma once

#include <cstdint>
#include <limits>

namespace rein {

/// Keeps a copy of the parameters and of all that transforms and the rule remember, and goes back
/// to it, with a lower learning rate, when steps go wrong one after the other.
///
/// The copy is what there was before a step that turned out to be fine and was applied, anew at the
/// first of every `every` such steps: these parameters are known to be healthy. A step that is not
/// finite is skipped before transforms see it, whatever the policy of a CheckFinite among them. One
/// that is skipped, by a transform, for its loss, or by the rule for its updates, is bad; but not
/// one that overflows at a loss scale that can fall and at which no step was fine yet. `most_bad`
/// of them in a row are only skipped; the next goes back. Then all learning rates are `rate_factor`
/// times what they were, for the rest of the training, and `StepInfo` says so: a rule that has none
/// (Rprop) is an InvalidArgument unless the factor is 1. Steps count on. A step that would go back
/// once more than `most` times is a NonFiniteError instead, before anything has changed. One more
/// copy of all of it in memory, allocated once, two where the rule may refuse a step (ClipUpdates);
/// it is saved with the step.
struct Rollback {
  int64_t every = 100;
  int64_t most_bad = 3;
  /// A step is bad whose loss is more than this times the loss of the step that the copy is from
  /// (where that one is above 0).
  double loss_above = std::numeric_limits<double>::infinity();
  double rate_factor = 0.5;
  int64_t most = 5;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("every", self.every);
    f("most_bad", self.most_bad);
    f("loss_above", self.loss_above);
    f("rate_factor", self.rate_factor);
    f("most", self.most);
  }
};

}  // namespace rein
