// What a Monitor adds to a training step.
#pragma once

#include "bench_network.h"

namespace rein::app {

/// Milliseconds a step, comparisons of parameters included: those of a clip by the global norm with
/// a Monitor around it, less those of the clip alone, on gradients for these variables.
double measure_monitor(const Variables& variables, int threads);

/// Milliseconds of one look inside the network's sequence.
double measure_inspect(const StepNetwork& network, const Tensor& input, int threads);

}  // namespace rein::app
