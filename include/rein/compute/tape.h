// Executes while it records, then tells gradients.
#pragma once

#include "rein/compute/graph.h"

namespace rein {

struct TapeOptions {
  ThreadTeam* team = nullptr;  // none: the caller's thread alone
  Seed seed{};                 // of dropout and other random ops
  uint64_t step = 0;           // random ops draw anew each step: count it, or every tape of a loop
                               // draws the same
};

/// Records what is computed from its inputs.
///
///     GradientTape tape;
///     Value loss = cost(tape.input(x), tape.input(y));
///     std::vector<Gradient> gradients = tape.gradient(loss, vars);
///
/// Tapes are independent: several may live at once, in several threads. Variables are read when
/// they are first used, so an update does not disturb a tape that is still in use.
class GradientTape {
 public:
  explicit GradientTape(TapeOptions options = {})
      : graph_({.eager = true, .team = options.team, .seed = options.seed, .step = options.step}) {}

  Value input(Tensor tensor) { return graph_.input(std::move(tensor)); }
  Value read(Variable variable) { return graph_.parameter(variable); }

  /// d sum(loss) / d variable for each, in their order; absent where the loss does not depend on
  /// it.
  std::vector<Gradient> gradient(Value loss, Variables& variables, Where where = Where::here());
  std::vector<Gradient> gradient(Value loss, std::span<const Variable> variables,
                                 Where where = Where::here());

  Graph& graph() { return graph_; }

 private:
  Graph graph_;
};

/// The same, on whatever tape the loss is.
std::vector<Gradient> compute_gradients(Value loss, std::span<const Variable> variables,
                                        Where where = Where::here());

}  // namespace rein
