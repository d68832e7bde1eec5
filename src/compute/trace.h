// What a recording is made of.
#pragma once

#include <memory>

#include "rein/compute/recording.h"

namespace rein {

/// A function as a graph: its inputs, and what it returned.
struct Recorded {
  std::unique_ptr<Graph> graph;
  Values inputs, outputs;
};
/// Throws InvalidArgument if it returned nothing, or values of another graph.
Recorded trace(const ModelFunction& function, std::span<const Spec> specs,
               const RecordingOptions& options, Where where, bool examples_apart = false);

/// A function with gradients of all variables. What it returned after the first output, the loss,
/// are metrics.
struct TracedGradients {
  Recorded recorded;
  size_t forward_nodes;
  Cotangents gradients;
};
/// Of a loss that is one number; InvalidArgument if it is more.
TracedGradients trace_gradients(Recorded recorded, Variables& variables, Where where);
/// The variables as values of a graph.
Values parameters_of(Graph& graph, Variables& variables);

}  // namespace rein
