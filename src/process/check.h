// What clip functions and transforms refuse.
#pragma once

#include <string_view>

#include "rein/process/clip.h"

namespace rein {

/// Safe semantics: a threshold is a number from 0 on, or infinity.
void check_threshold(std::string_view op, double clip_norm, Semantics semantics, Where where);

/// Safe semantics: lo <= hi, none of them NaN.
void check_bounds(std::string_view op, double lo, double hi, Semantics semantics, Where where);

/// A gradient whose norm can be taken: floating, and rows of its shape where it is sparse.
void check_gradient(std::string_view op, const Gradient& gradient, Where where);

}  // namespace rein
