#include "rein/nn/cell.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "new_variables.h"
#include "rein/compute/graph.h"
#include "rein/nn/clip.h"

namespace rein {
namespace {

// Throws unless x has `rank` axes, of which the last is `width`; `cell` names the cell.
void expect_input(std::string_view op, const std::string& cell, const Value& x, int rank,
                  int64_t width, Where where) {
  if (x.shape().rank() == rank && x.shape().back() == width) return;
  throw InvalidArgument(op,
                        fmt::format("'{}' takes inputs [{}batch, {}], got {}", cell,
                                    rank == 3 ? "steps, " : "", width, to_string(x.shape())),
                        where);
}

void expect_state(std::string_view op, const RNNCell& cell, const CellState& state, int64_t batch,
                  Where where) {
  const auto names = cell.state_names();
  const auto sizes = cell.state_sizes();
  if (state.values.size() != names.size())
    throw InvalidArgument(op,
                          fmt::format("the state has {} values ({}), got {}", names.size(),
                                      fmt::join(names, ", "), state.values.size()),
                          where);
  for (size_t i = 0; i < names.size(); ++i)
    if (state.values[i].shape() != Shape{batch, sizes[i]})
      throw InvalidArgument(
          op,
          fmt::format("the state '{}' must be {}, got {}", names[i],
                      to_string(Shape{batch, sizes[i]}), to_string(state.values[i].shape())),
          where);
}

// The clips of a cell, once they are known to make sense.
const StepClip& expect_clip(std::string_view op, const StepClip& clip, Where where) {
  for (double limit : {clip.gates, clip.state})
    if (!(limit >= 0))
      throw InvalidArgument(
          op, fmt::format("step_clip is {}; it must be 0 or more (infinity: no clipping)", limit),
          where);
  return clip;
}
BasicLSTMCellOptions checked(BasicLSTMCellOptions options, Where where) {
  constexpr std::string_view op = "BasicLSTMCell";
  const auto expect_limit = [&](std::string_view setting, double limit) {
    if (!(limit > 0))
      throw InvalidArgument(
          op,
          fmt::format("{} is {}; it must be more than 0 (infinity: no clipping)", setting, limit),
          where);
  };
  expect_limit("cell_clip", options.cell_clip);
  expect_limit("proj_clip", options.proj_clip);
  if (options.num_proj < 0)
    throw InvalidArgument(
        op, fmt::format("num_proj is {}; give a width, or 0 for no projection", options.num_proj),
        where);
  if (options.num_proj == 0 && !std::isinf(options.proj_clip))
    throw InvalidArgument(op,
                          fmt::format("proj_clip is {}, but there is no projection; give num_proj",
                                      options.proj_clip),
                          where);
  expect_clip(op, options.step_clip, where);
  return options;
}

// The state that a step starts from, and its gates before sigmoid and tanh: what flows back through
// them is clipped.
CellState clipped_state(const CellState& state, const StepClip& clip, Where where) {
  if (std::isinf(clip.state)) return state;
  return {clip_gradient_by_row_norm(state.values, clip.state, where)};
}
Value clipped_gates(const Value& z, const StepClip& clip, Where where) {
  return std::isinf(clip.gates) ? z : clip_gradient_by_value(z, clip.gates, where);
}

// [x, h] kernel + bias
Value affine(const Value& x, const Value& h, Variable kernel, Variable bias, Where where) {
  const Value both = concat(std::vector<Value>{x, h}, {.axis = 1}, where);
  return add(matmul(both, kernel, {}, where), bias, where);
}

}  // namespace

// ---------------------------------------------------------------- any cell

CellState RNNCell::zero_state(const Value& x) const {
  CellState state;
  for (int64_t size : state_sizes())
    state.values.push_back(x.graph().constant(Tensor({x.shape()[0], size}, x.dtype())));
  return state;
}

RNNCell::Sequence RNNCell::sequence(Value x, const CellState& state, Where where) const {
  CellState current = state;
  Values outputs;
  for (const Value& row : unstack(x, {.axis = 0}, where)) {
    Result result = step(row, current, where);
    outputs.push_back(result.output);
    current = std::move(result.state);
  }
  return {stack(outputs, {.axis = 0}, where), outputs.back(), std::move(current)};
}

std::vector<RNNCell::Gate> RNNCell::gates(Value, const CellState&, Where) const { return {}; }

// ---------------------------------------------------------------- BasicLSTMCell

BasicLSTMCell::BasicLSTMCell(Variables& variables, std::string name, int64_t input_size,
                             int64_t num_units, BasicLSTMCellOptions options, Where where)
    : num_units_(num_units),
      options_(checked(std::move(options), where)),
      kernel_(variables.add(
          expect_new("BasicLSTMCell", variables, name,
                     {"/kernel", options_.num_proj > 0 ? "/projection/kernel" : "/bias", "/bias"},
                     {input_size, num_units}, where) +
              "/kernel",
          {input_size + (options_.num_proj > 0 ? options_.num_proj : num_units), 4 * num_units},
          options_.kernel, where)),
      bias_(variables.add(name + "/bias", {4 * num_units}, zeros(), where)) {
  if (options_.num_proj > 0)
    projection_ = variables.add(name + "/projection/kernel", {num_units, options_.num_proj},
                                options_.kernel, where);
}

namespace {

Value clamped(const Value& x, double limit, CellClipGradient gradient, Where where) {
  if (std::isinf(limit)) return x;
  const Value clipped = clip_by_value(x, -limit, limit, where);
  return gradient == CellClipGradient::zero ? clipped : straight_through(clipped, x, where);
}

}  // namespace

RNNCell::Result BasicLSTMCell::step(Value x, const CellState& state, Where where) const {
  expect_input("BasicLSTMCell", kernel_.name(), x, 2, kernel_.shape()[0] - output_size(), where);
  expect_state("BasicLSTMCell", *this, state, x.shape()[0], where);
  const CellState before = clipped_state(state, options_.step_clip, where);
  const Value c = before.values[0], h = before.values[1];
  const Value z = clipped_gates(affine(x, h, kernel_, bias_, where), options_.step_clip, where);
  const Values gates = split(z, 4, {.axis = 1}, where);
  const Value i = gates[0], j = gates[1], f = gates[2], o = gates[3];
  const Value kept = mul(c, sigmoid(add(f, options_.forget_bias, where), where), where);
  const Value added = mul(sigmoid(i, where), activate(j, options_.activation, where), where);
  const Value new_c =
      clamped(add(kept, added, where), options_.cell_clip, options_.cell_clip_gradient, where);
  Value new_h = mul(activate(new_c, options_.activation, where), sigmoid(o, where), where);
  if (projection_)
    new_h = clamped(matmul(new_h, *projection_, {}, where), options_.proj_clip,
                    options_.proj_clip_gradient, where);
  return {new_h, {{new_c, new_h}}};
}

RNNCell::Sequence BasicLSTMCell::sequence(Value x, const CellState& state, Where where) const {
  expect_input("BasicLSTMCell", kernel_.name(), x, 3, kernel_.shape()[0] - output_size(), where);
  expect_state("BasicLSTMCell", *this, state, x.shape()[1], where);
  if (!is_fused()) return RNNCell::sequence(x, state, where);
  const LstmResult result = lstm(x, kernel_, bias_, state.values[1], state.values[0],
                                 {.forget_bias = options_.forget_bias,
                                  .cell_clip = options_.cell_clip,
                                  .cell_clip_gradient = options_.cell_clip_gradient,
                                  .step_clip = options_.step_clip},
                                 where);
  return {result.outputs, result.h, {{result.c, result.h}}};
}

std::vector<RNNCell::Gate> BasicLSTMCell::gates(Value x, const CellState& state,
                                                Where where) const {
  expect_input("BasicLSTMCell", kernel_.name(), x, 2, kernel_.shape()[0] - output_size(), where);
  expect_state("BasicLSTMCell", *this, state, x.shape()[0], where);
  const Values z = split(affine(x, state.values[1], kernel_, bias_, where), 4, {.axis = 1}, where);
  std::vector<Gate> all{{"i", sigmoid(z[0], where)},
                        {"j", tanh(z[1], where), true},
                        {"f", sigmoid(add(z[2], options_.forget_bias, where), where)},
                        {"o", sigmoid(z[3], where)}};
  if (options_.activation != Activation::tanh) all.erase(all.begin() + 1);
  return all;
}

// ---------------------------------------------------------------- BasicRNNCell

Value activate(Value x, Activation activation, Where where) {
  switch (activation) {
    case Activation::tanh:
      return tanh(x, where);
    case Activation::relu:
      return relu(x, where);
    case Activation::sigmoid:
      return sigmoid(x, where);
    case Activation::linear:
      break;
  }
  return x;
}

BasicRNNCell::BasicRNNCell(Variables& variables, std::string name, int64_t input_size,
                           int64_t num_units, BasicRNNCellOptions options, Where where)
    : num_units_(num_units),
      activation_(options.activation),
      step_clip_(expect_clip("BasicRNNCell", options.step_clip, where)),
      kernel_(variables.add(expect_new("BasicRNNCell", variables, name, {"/kernel", "/bias"},
                                       {input_size, num_units}, where) +
                                "/kernel",
                            {input_size + num_units, num_units}, options.kernel, where)),
      bias_(variables.add(name + "/bias", {num_units}, zeros(), where)) {}

RNNCell::Result BasicRNNCell::step(Value x, const CellState& state, Where where) const {
  expect_input("BasicRNNCell", kernel_.name(), x, 2, kernel_.shape()[0] - num_units_, where);
  expect_state("BasicRNNCell", *this, state, x.shape()[0], where);
  const CellState before = clipped_state(state, step_clip_, where);
  const Value z = affine(x, before.values[0], kernel_, bias_, where);
  const Value h = activate(clipped_gates(z, step_clip_, where), activation_, where);
  return {h, {{h}}};
}

// ---------------------------------------------------------------- MultiRNNCell

MultiRNNCell::MultiRNNCell(std::vector<std::shared_ptr<const RNNCell>> cells, Where where)
    : cells_(std::move(cells)) {
  if (cells_.empty()) throw InvalidArgument("MultiRNNCell", "there are no cells", where);
  for (const auto& cell : cells_)
    if (!cell) throw InvalidArgument("MultiRNNCell", "a cell is null", where);
}

std::vector<std::string> MultiRNNCell::state_names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < cells_.size(); ++i)
    for (const std::string& name : cells_[i]->state_names())
      names.push_back(fmt::format("cell_{}/{}", i, name));
  return names;
}

std::vector<int64_t> MultiRNNCell::state_sizes() const {
  std::vector<int64_t> sizes;
  for (const auto& cell : cells_)
    for (int64_t size : cell->state_sizes()) sizes.push_back(size);
  return sizes;
}

bool MultiRNNCell::is_fused() const {
  return std::ranges::all_of(cells_, [](const auto& cell) { return cell->is_fused(); });
}

namespace {

// The states of a stack, cell by cell.
class StateReader {
 public:
  explicit StateReader(const CellState& all) : next_(all.values.begin()) {}
  CellState of(const RNNCell& cell) {
    const auto first = next_;
    next_ += static_cast<std::ptrdiff_t>(cell.state_sizes().size());
    return {{first, next_}};
  }

 private:
  Values::const_iterator next_;
};

void append(CellState& all, const CellState& state) {
  all.values.insert(all.values.end(), state.values.begin(), state.values.end());
}

}  // namespace

RNNCell::Result MultiRNNCell::step(Value x, const CellState& state, Where where) const {
  expect_state("MultiRNNCell", *this, state, x.shape()[0], where);
  StateReader states(state);
  Result all{x, {}};
  for (const auto& cell : cells_) {
    const Result result = cell->step(all.output, states.of(*cell), where);
    all.output = result.output;
    append(all.state, result.state);
  }
  return all;
}

RNNCell::Sequence MultiRNNCell::sequence(Value x, const CellState& state, Where where) const {
  expect_state("MultiRNNCell", *this, state, x.shape()[1], where);
  StateReader states(state);
  Sequence all{x, {}, {}};
  for (const auto& cell : cells_) {
    const Sequence result = cell->sequence(all.outputs, states.of(*cell), where);
    all.outputs = result.outputs;
    all.last = result.last;
    append(all.state, result.state);
  }
  return all;
}

std::vector<RNNCell::Gate> MultiRNNCell::gates(Value x, const CellState& state, Where where) const {
  expect_state("MultiRNNCell", *this, state, x.shape()[0], where);
  StateReader states(state);
  std::vector<Gate> all;
  for (size_t i = 0; i < cells_.size(); ++i) {
    const CellState of_cell = states.of(*cells_[i]);
    for (Gate& gate : cells_[i]->gates(x, of_cell, where)) {
      gate.name = fmt::format("cell_{}/{}", i, gate.name);
      all.push_back(std::move(gate));
    }
    x = cells_[i]->step(x, of_cell, where).output;
  }
  return all;
}

// ---------------------------------------------------------------- static_rnn

namespace {

// Lengths beside x [batch, size]: as a column [batch, 1] of its dtype.
Value lengths_of(const Operand& sequence_length, const Value& x, Where where) {
  const Operand both[] = {sequence_length, x};
  const Value lengths = Operand::resolve("static_rnn", both, where)[0];
  const int64_t batch = x.shape()[0];
  if (lengths.shape() != Shape{batch} || is_floating(lengths.dtype()))
    throw InvalidArgument(
        "static_rnn",
        fmt::format("sequence_length must be integers [{}], one an example, got {}", batch,
                    to_string(lengths.spec())),
        where);
  return reshape(cast(lengths, x.dtype(), where), {batch, 1}, where);
}

Unrolled step_by_step(const RNNCell& cell, std::span<const Value> inputs, CellState state,
                      const std::optional<Value>& lengths, Where where) {
  Unrolled all{{}, std::move(state)};
  for (const Value& x : inputs) {
    RNNCell::Result result = cell.step(x, all.state, where);
    if (lengths) {
      const Value runs = greater(*lengths, static_cast<double>(all.outputs.size()), where);
      result.output = rein::where(runs, result.output, 0.0, where);
      for (size_t i = 0; i < all.state.values.size(); ++i) {
        Value& next = result.state.values[i];
        next = rein::where(runs, next, all.state.values[i], where);
      }
    }
    all.outputs.push_back(result.output);
    all.state = std::move(result.state);
  }
  return all;
}

Unrolled whole_sequence(const RNNCell& cell, std::span<const Value> inputs, const CellState& state,
                        Where where) {
  // The pieces of one split are joined without a copy.
  const Value joined = concat(inputs, {.axis = 0}, where);
  const Shape& row = inputs[0].shape();
  const Value x = reshape(joined, {static_cast<int64_t>(inputs.size()), row[0], row[1]}, where);
  RNNCell::Sequence whole = cell.sequence(x, state, where);
  Values outputs = unstack(whole.outputs, {.axis = 0}, where);
  // The last output as the op's own result: a loss of it alone then gives the op's backward no
  // gradient of the whole sequence, most of it zeros.
  outputs.back() = whole.last;
  return {std::move(outputs), std::move(whole.state)};
}

}  // namespace

Unrolled static_rnn(const RNNCell& cell, std::span<const Value> inputs,
                    std::optional<CellState> initial_state, std::optional<Operand> sequence_length,
                    Where where) {
  if (inputs.empty())
    throw InvalidArgument("static_rnn", "the list of inputs is empty; it needs one value a step",
                          where);
  for (const Value& x : inputs)
    if (x.shape() != inputs[0].shape() || x.shape().rank() != 2)
      throw InvalidArgument("static_rnn",
                            fmt::format("every input must be [batch, input_size], the same for "
                                        "all steps, got {} and {}",
                                        to_string(inputs[0].shape()), to_string(x.shape())),
                            where);
  CellState state = initial_state ? *std::move(initial_state) : cell.zero_state(inputs[0]);
  if (sequence_length)
    return step_by_step(cell, inputs, std::move(state),
                        lengths_of(*sequence_length, inputs[0], where), where);
  if (!cell.is_fused()) return step_by_step(cell, inputs, std::move(state), {}, where);
  return whole_sequence(cell, inputs, state, where);
}

}  // namespace rein
