// The clip of each example's gradient, as an op.
#pragma once

#include "rein/compute/value.h"

namespace rein {

/// From the norm of each example's gradient by each variable, float64 [batch] each: what brings the
/// gradient of an example to at most clip_norm, 0 if its norm is not finite; and that norm, of all
/// variables together.
struct ClippedNorms {
  Value factors, norms;  // float64 [batch]
};
ClippedNorms clip_examples(const Values& norms, double clip_norm);

}  // namespace rein
