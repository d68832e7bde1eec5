// Sparse gradients inside stages 2 and 3.
#pragma once

#include "rein/tensor/variables.h"

namespace rein {

/// Brings the rows of every sparse gradient into rising order, each once, repeated ones added up.
/// Costs one look at the indices where they are so already.
void merge_rows(Gradients& gradients);

}  // namespace rein
