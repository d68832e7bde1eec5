// What a Monitor adds to a training step.
#pragma once

#include "rein/tensor/variables.h"

namespace rein::app {

/// Milliseconds a step, comparisons of parameters included: those of a clip by the global norm with
/// a Monitor around it, less those of the clip alone, on gradients for these variables.
double measure_monitor(const Variables& variables, int threads);

}  // namespace rein::app
