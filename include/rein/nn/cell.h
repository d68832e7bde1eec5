// Recurrent cells with TensorFlow's names, and the function that runs them over a list of steps.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rein/compute/ops.h"
#include "rein/nn/initializers.h"

namespace rein {

/// What a cell carries from step to step: values [batch, size], in the order of `state_names`.
struct CellState {
  Values values;
};

/// One step of a recurrent network (tf.nn.rnn_cell.RNNCell).
class RNNCell {
 public:
  virtual ~RNNCell() = default;

  /// For example {"c", "h"}; of a stack {"cell_0/c", "cell_0/h", "cell_1/c", ...}.
  virtual std::vector<std::string> state_names() const = 0;
  /// The width of each.
  virtual std::vector<int64_t> state_sizes() const = 0;
  virtual int64_t output_size() const = 0;

  /// Zeros for a batch of the size of `x` [batch, ...], on its graph.
  CellState zero_state(const Value& x) const;

  struct Result {
    Value output;  // [batch, output_size]
    CellState state;
  };
  /// One step: x [batch, input_size].
  virtual Result step(Value x, const CellState& state, Where where = Where::here()) const = 0;

  struct Sequence {
    Value outputs;  // [steps, batch, output_size]
    Value last;     // the output of the last step [batch, output_size]
    CellState state;
  };
  /// A whole sequence x [steps, batch, input_size]; step by step, unless the cell has an op for it.
  virtual Sequence sequence(Value x, const CellState& state, Where where = Where::here()) const;
  /// Whether it has.
  virtual bool is_fused() const { return false; }

  /// A gate of one step, after its sigmoid or tanh.
  struct Gate {
    std::string name;  // "f"; of a stack "cell_0/f"
    Value activation;  // [batch, units]
    bool is_tanh = false;
  };
  /// The gates of the step that `step` makes of the same arguments, computed anew, for who looks
  /// into cells. None, unless the cell says so.
  virtual std::vector<Gate> gates(Value x, const CellState& state,
                                  Where where = Where::here()) const;
};

enum class Activation : uint8_t { tanh, relu, sigmoid, linear };
Value activate(Value x, Activation activation, Where where = Where::here());

struct BasicLSTMCellOptions {
  double forget_bias = 1;  // added when the cell runs, not stored
  Activation activation = Activation::tanh;
  Initializer kernel = glorot_uniform();
  /// c is clamped to [-cell_clip, cell_clip] at every step, as in tf.nn.rnn_cell.LSTMCell; more
  /// than 0, infinity clips nothing.
  double cell_clip = std::numeric_limits<double>::infinity();
  CellClipGradient cell_clip_gradient = CellClipGradient::zero;
  StepClip step_clip{};
  /// More than 0: h' is multiplied by `name/projection/kernel` [num_units, num_proj], and clamped
  /// to [-proj_clip, proj_clip], as in tf.nn.rnn_cell.LSTMCell; then there is no op for a sequence.
  int64_t num_proj = 0;
  double proj_clip = std::numeric_limits<double>::infinity();
  CellClipGradient proj_clip_gradient = CellClipGradient::zero;
};
/// tf.nn.rnn_cell.BasicLSTMCell, and LSTMCell without peepholes. Variables `name/kernel`
/// [input_size + output_size, 4 num_units], gates i, j, f, o, and `name/bias` [4 num_units], zeros
/// at first:
/// c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j), h' = tanh(c') sigmoid(o), or another
/// activation in place of tanh (then there is no op for a sequence). State (c, h).
class BasicLSTMCell final : public RNNCell {
 public:
  BasicLSTMCell(Variables& variables, std::string name, int64_t input_size, int64_t num_units,
                BasicLSTMCellOptions options = {}, Where where = Where::here());

  std::vector<std::string> state_names() const override { return {"c", "h"}; }
  std::vector<int64_t> state_sizes() const override { return {num_units_, output_size()}; }
  /// i, j, f, o; without j if its activation is not tanh.
  std::vector<Gate> gates(Value x, const CellState& state,
                          Where where = Where::here()) const override;
  int64_t output_size() const override { return projection_ ? options_.num_proj : num_units_; }
  Result step(Value x, const CellState& state, Where where = Where::here()) const override;
  Sequence sequence(Value x, const CellState& state, Where where = Where::here()) const override;
  bool is_fused() const override { return options_.activation == Activation::tanh && !projection_; }

 private:
  int64_t num_units_;
  BasicLSTMCellOptions options_;
  Variable kernel_, bias_;
  std::optional<Variable> projection_{};
};

struct BasicRNNCellOptions {
  Activation activation = Activation::tanh;
  Initializer kernel = glorot_uniform();
  StepClip step_clip{};
};
/// tf.nn.rnn_cell.BasicRNNCell: h' = activation([x, h] kernel + bias), with `name/kernel`
/// [input_size + num_units, num_units] and `name/bias` [num_units]. State (h).
class BasicRNNCell final : public RNNCell {
 public:
  BasicRNNCell(Variables& variables, std::string name, int64_t input_size, int64_t num_units,
               BasicRNNCellOptions options = {}, Where where = Where::here());

  std::vector<std::string> state_names() const override { return {"h"}; }
  std::vector<int64_t> state_sizes() const override { return {num_units_}; }
  int64_t output_size() const override { return num_units_; }
  Result step(Value x, const CellState& state, Where where = Where::here()) const override;

 private:
  int64_t num_units_;
  Activation activation_;
  StepClip step_clip_;
  Variable kernel_, bias_;
};

/// tf.nn.rnn_cell.MultiRNNCell: cells on top of each other, each fed by the one before.
class MultiRNNCell final : public RNNCell {
 public:
  explicit MultiRNNCell(std::vector<std::shared_ptr<const RNNCell>> cells,
                        Where where = Where::here());

  std::vector<std::string> state_names() const override;
  std::vector<int64_t> state_sizes() const override;
  std::vector<Gate> gates(Value x, const CellState& state,
                          Where where = Where::here()) const override;
  int64_t output_size() const override { return cells_.back()->output_size(); }
  Result step(Value x, const CellState& state, Where where = Where::here()) const override;
  /// Layer by layer.
  Sequence sequence(Value x, const CellState& state, Where where = Where::here()) const override;
  /// Whether every cell is.
  bool is_fused() const override;

 private:
  std::vector<std::shared_ptr<const RNNCell>> cells_;
};

struct Unrolled {
  Values outputs;   // one a step, [batch, output_size]
  CellState state;  // after the last step
};
/// tf.nn.static_rnn: runs the cell over a list of inputs [batch, input_size], one a step, from
/// `initial_state` (zeros if there is none). Of a fused cell it takes `sequence`, so that the list
/// costs nothing. With `sequence_length`, integers [batch], it goes step by step: from its length
/// on the outputs of an example are 0 and its state stays. Throws InvalidArgument if the list is
/// empty or shapes differ.
Unrolled static_rnn(const RNNCell& cell, std::span<const Value> inputs,
                    std::optional<CellState> initial_state = {},
                    std::optional<Operand> sequence_length = {}, Where where = Where::here());

}  // namespace rein
