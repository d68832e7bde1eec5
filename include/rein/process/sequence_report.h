// How gradients go back through time, and how open gates are, as numbers.
#pragma once

#include <string>
#include <vector>

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
  bool is_tanh = false;
  double mean = 0;
  double closed = 0;  // share of them below 0.1, of a tanh below -0.9
  double open = 0;    // share above 0.9
};

/// `inspect` (rein/nn/inspect.h) makes it of a cell.
struct SequenceReport {
  std::vector<GradientByLag> states;
  std::vector<GateReport> gates;  // of cells that have some
};

/// A few lines to read.
std::string to_string(const SequenceReport& report);

}  // namespace rein
