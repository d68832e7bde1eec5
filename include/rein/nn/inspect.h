// How gradients go back through time, and how open the gates are: on request, not in every step.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rein/nn/cell.h"

namespace rein {

/// What the last output still knows of one state, `lag` steps before it: with h_T the last output
/// and s_t the state after step t, [lag] is |r^T dh_T/ds_(T - lag)| / |r|, r being random signs
/// and the norms those of the whole batch. The c of an LSTM counts with what it does to its h. Of a
/// linear cell h' = f h Q with an orthogonal Q it is f^lag.
struct GradientByLag {
  std::string state;           // its name, as in `state_names`
  std::vector<double> by_lag;  // of lag 0, 1, ..., steps - 1
  /// The factor of one step, on average: (last / first)^(1 / (steps - 1)); 1 if there is one step.
  double factor() const;
};

/// How the activations of one gate are spread over steps, examples and units.
struct GateReport {
  std::string name;  // "i", "j", "f", "o"; in a stack "cell_0/i"
  double mean = 0;
  double closed = 0;  // share of them below 0.1, of a tanh below -0.9
  double open = 0;    // share above 0.9
};

struct SequenceReport {
  std::vector<GradientByLag> states;
  std::vector<GateReport> gates;  // of cells that have some
};

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

/// A few lines to read.
std::string to_string(const SequenceReport& report);

}  // namespace rein
