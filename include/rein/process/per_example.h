// Clipping the gradient of each example before they are added up.
#pragma once

#include <span>
#include <vector>

#include "rein/process/semantics.h"
#include "rein/tensor/tensor.h"

namespace rein {

struct ClippedExamples {
  std::vector<Tensor> sums;  // over the examples, of each gradient
  int64_t clipped = 0;       // how many examples were shortened
};
/// sum over i of g_i min(1, clip_norm / |g_i|), |g_i| the norm of all gradients of example i
/// together (Abadi and others 2016, arXiv 1607.00133; optax.per_example_global_norm_clip). Axis 0
/// of every gradient is the example. Semantics::safe leaves out an example whose norm is not finite
/// and counts it as clipped, so that the sum never moves by more than clip_norm an example; all
/// others are Optax's formula in the type of the gradients. Throws InvalidArgument unless all
/// gradients are floating, of one type, and of the same number of examples.
ClippedExamples per_example_global_norm_clip(std::span<const Tensor> gradients, double clip_norm,
                                             Semantics semantics = Semantics::safe,
                                             Where where = Where::here());

}  // namespace rein
