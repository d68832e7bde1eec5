// Steps that are not finite, and gradients that are too large to be believed.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "rein/process/norms.h"

namespace rein {

/// What becomes of a step whose loss, or a gradient, is not finite.
enum class NonFinite : uint8_t {
  propagate,  // it goes on as if nothing were
  zero,       // every number of a gradient that is not finite becomes 0
  skip,       // neither parameters nor what the rule remembers change, its count included
  stop        // NonFiniteError, before anything is changed
};
std::string_view to_string(NonFinite policy);

/// Looks at the loss and all gradients. Whatever the policy, `StepInfo` says that they were not
/// finite and names the first variable. Costs the pass over memory that takes their norms, which
/// `StepInfo` then holds (`clipped_norm` is of what `zero` leaves). The transforms behind it do not
/// see a step that it skips or stops; those before it do, and forget it.
///
///     chain(CheckFinite{.policy = NonFinite::skip, .most_skips = 10}, ClipByGlobalNorm{5})
///
/// A count of skips in a row is kept: one more than `most_skips` of them is a NonFiniteError, for
/// a training that skips everything is over. Negative or NaN settings throw InvalidArgument.
struct CheckFinite {
  static constexpr std::string_view name = "CheckFinite";
  NonFinite policy = NonFinite::skip;
  /// A step whose global norm is larger is skipped too, whatever the policy.
  double skip_above = std::numeric_limits<double>::infinity();
  int64_t most_skips = 0;  // 0: no limit
  // Of variables that are spread over ranks, which have one loss and decide alike.
  std::optional<Shards> shards{};

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("policy", self.policy);
    f("skip_above", self.skip_above);
    f("most_skips", self.most_skips);
    f("shards", self.shards);
  }

  struct State {
    Norms norms;
    int64_t in_a_row = 0;  // skips, since a step was applied
    int64_t skipped = 0;   // of all steps

    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("in_a_row", self.in_a_row);
      f("skipped", self.skipped);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool decides_non_finite() const { return true; }
};

}  // namespace rein
