// A step of variables of which each rank holds a part.
#pragma once

#include <optional>

#include "rein/apply/rule.h"
#include "rein/process/shards.h"
#include "rein/train/step.h"

namespace rein {

/// All shards that the transforms and clips of updates of a step name, as one. Throws
/// InvalidArgument if they are of several communicators, and for options that know nothing of
/// parts.
std::optional<Shards> joint_shards(const AnyTransform& process, const AnyRule& rule,
                                   const StepOptions& options, Where where);

/// The variables that they are of. Throws InvalidArgument if the rule wants to see one as a whole.
Partial partial_variables(const Shards& shards, const Variables& variables, const AnyRule& rule,
                          AnyRule::State& state);

}  // namespace rein
