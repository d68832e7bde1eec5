// clip_by_norm with a norm for each slice.
#pragma once

#include "rein/process/clip.h"

namespace rein {

/// `options.axes` is not empty, `g` neither absent nor of integers. Where nothing is clipped (in
/// the safe semantics), `g` itself.
Gradient clip_by_norm_over_axes(const Gradient& g, double clip_norm,
                                const ClipByNormOptions& options, Where where);

}  // namespace rein
