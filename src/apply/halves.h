// The two halves of `apply_updates`, for who has more to change between them.
#pragma once

#include "rein/apply/apply.h"

namespace rein {

/// Evaluates schedules. Throws InvalidArgument if the step cannot be.
void prepare_updates(const Variables& variables, const Gradients& gradients, const AnyRule& rule,
                     AnyRule::State& state);
/// Of a step that is not skipped. Returns false if a transform that saw the deltas asked to skip:
/// the rule has counted, but nothing is added.
bool add_updates(Variables& variables, Gradients& gradients, const AnyRule& rule,
                 AnyRule::State& state, const StepInfo& info, ThreadTeam& team);

}  // namespace rein
