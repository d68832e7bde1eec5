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
Recorded trace(const ModelFunction& function, std::span<const Spec> specs, Seed seed, Where where);

}  // namespace rein
