// The only writer of parameters.
#pragma once

#include "rein/apply/rule.h"
#include "rein/base/thread_team.h"

namespace rein {

/// Adds the rule's deltas to the parameters: gradient times `gradients.scale` -> rule ->
/// parameters, in blocks that stay in the first-level cache. Absent gradients leave their variable
/// and what the rule remembers of it alone. With `info.skip` nothing moves, the rule's step count
/// included. For a rule that has whole variables, deltas take the place of their dense gradients.
///
/// Returns whether the step was applied: not with `info.skip`, nor if a transform that sees the
/// deltas (ClipUpdates) asks to skip. Only then are transforms to `remember` it.
bool apply_updates(Variables& variables, Gradients& gradients, const AnyRule& rule,
                   AnyRule::State& state, const StepInfo& info, ThreadTeam& team);

}  // namespace rein
