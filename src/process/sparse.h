// Sparse gradients inside stages 2 and 3.
#pragma once

#include "rein/tensor/gradient.h"

namespace rein {

/// Rows in rising order, each once. Costs one look at the indices when they are so already.
void merge_in_place(IndexedSlices& slices);

}  // namespace rein
