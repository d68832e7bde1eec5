// How gradients go back through time, and how open the gates are: on request, not in every step.
#pragma once

#include <optional>

#include "rein/nn/cell.h"
#include "rein/process/sequence_report.h"

namespace rein {

struct InspectOptions {
  std::optional<CellState> initial_state{};  // zeros if there is none
  Seed seed{};                               // of the random signs
};

/// Runs the cell step by step over x [steps, batch, input_size], which must be on a tape, and goes
/// back once. Memory: that of an unrolled training step. Throws InvalidArgument if x is part of a
/// recording, or has no steps.
///
///     GradientTape tape;
///     SequenceReport report = inspect(cell, tape.input(x));  // or gather(embedding, ...)
SequenceReport inspect(const RNNCell& cell, Value x, InspectOptions options = {},
                       Where where = Where::here());

}  // namespace rein
