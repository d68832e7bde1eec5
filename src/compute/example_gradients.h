// Gradients of a batch in which the gradient of each example has a factor.
#pragma once

#include <functional>
#include <span>

#include "compute/trace.h"

namespace rein {

struct ExampleFactors {
  Values factors;  // [batch], of each variable that has a gradient
  Values metrics;  // [batch], to become metrics behind those there are
};
/// Of the norms of each example's gradient by each of these variables, float64 [batch].
using FactorsOfNorms =
    std::function<ExampleFactors(const Values& norms, std::span<const size_t> variables)>;

/// Of a function that returns one loss an example, [batch], and metrics, [batch, ...], recorded
/// for one batch and for one example more: the sum over examples of a factor times the gradient. In
/// one backward pass: norms come from the two sides of the products that gradients of weights are,
/// then these products are made once, of error signals times the factor of their example ("ghost
/// norms" with book-keeping; Bu and others 2023, arXiv 2210.00038). Throws ExamplesMixed where it
/// cannot see that each gradient is such a sum.
TracedGradients trace_example_gradients(Recorded recorded, Recorded of_one_more,
                                        Variables& variables, const FactorsOfNorms& factors,
                                        Where where);

}  // namespace rein
