// The networks that `rein bench step` trains, by name.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "rein/rein.h"

namespace rein::app {

enum class StepLoss : uint8_t { cross_entropy, squared_error };

struct StepShape {
  std::string_view name;
  int64_t batch, steps, inputs, units, outputs;
  bool every_step;  // the loss sees every output, or the last one alone
  StepLoss loss;
  int64_t vocabulary = 0;  // the inputs are rows of a table of so many, or numbers
  int layers = 1;          // 0: a linear layer and tanh in their place

  int64_t predictions() const { return every_step ? steps * batch : batch; }
};

std::span<const StepShape> step_shapes();

/// How a step clips: the mean gradient, or that of each example.
enum class StepWay : uint8_t { mean, together, one_by_one };

/// LSTM layers, a linear layer, the mean of the loss.
class StepNetwork {
 public:
  explicit StepNetwork(const StepShape& shape, DType type = DType::float32);

  /// Of inputs [steps, batch, inputs] (or indices [steps, batch]) and of a target for each
  /// prediction.
  Value cost(const Value& input, const Value& target) const;
  /// One mean an example, of the same inputs and targets [batch, steps, ...].
  Value losses(const Value& input, const Value& target) const;
  /// Clip by the global norm, or of each example by its own; Adam.
  Step step(int threads, StepWay way = StepWay::mean, ProductOptions products = {});
  Variables& variables() { return vars_; }
  /// What a Monitor is given of the inside of the layers.
  SequenceReport inspect(const Tensor& input, ThreadTeam& team) const;

 private:
  Value read(const Value& input) const;     // [steps, batch, inputs]
  Value predict(const Value& input) const;  // [steps, batch, outputs], or of the last [batch, ...]

  StepShape shape_;
  Variables vars_;
  std::optional<MultiRNNCell> cell_;
  std::optional<Linear> hidden_;
  Linear out_;
  std::optional<Variable> table_;
};

/// Random, the same for every call.
Tensor draw_inputs(const StepShape& shape);
Tensor draw_targets(const StepShape& shape);
/// The same numbers, [batch, steps, ...].
Tensor inputs_by_example(const StepShape& shape);
Tensor targets_by_example(const StepShape& shape);

}  // namespace rein::app
