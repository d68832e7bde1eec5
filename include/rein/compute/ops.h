// The ops by name; their definitions are in src/compute/ops, one struct each. TensorFlow's names
// where TensorFlow has the op. Every function throws InvalidArgument that names itself, the shapes
// it got and the caller's place. Axes count from 0; a negative axis counts from the end.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "rein/compute/value.h"

namespace rein {

struct Axis {
  int axis = 0;
};

// ---------------------------------------------------------------- elementwise, with broadcasting
// Sizes are aligned at the right; a size of 1 or a missing one stretches.
Value add(Operand a, Operand b, Where where = Where::here());
Value sub(Operand a, Operand b, Where where = Where::here());
Value mul(Operand a, Operand b, Where where = Where::here());
Value div(Operand a, Operand b, Where where = Where::here());
/// The larger one; NaN if either is. Where equal, the gradient goes to `a`.
Value maximum(Operand a, Operand b, Where where = Where::here());
/// The smaller one; NaN if either is. Where equal, the gradient goes to `a`.
Value minimum(Operand a, Operand b, Where where = Where::here());

/// A value with the place where an operator stands beside it, for error texts.
struct PlacedValue {
  PlacedValue(Value v, Where w = Where::here()) : value(v), where(w) {}
  Value value;
  Where where;
};
inline Value operator+(PlacedValue a, Operand b) { return add(a.value, std::move(b), a.where); }
inline Value operator-(PlacedValue a, Operand b) { return sub(a.value, std::move(b), a.where); }
inline Value operator*(PlacedValue a, Operand b) { return mul(a.value, std::move(b), a.where); }
inline Value operator/(PlacedValue a, Operand b) { return div(a.value, std::move(b), a.where); }
inline Value operator+(double a, PlacedValue b) { return add(a, b.value, b.where); }
inline Value operator-(double a, PlacedValue b) { return sub(a, b.value, b.where); }
inline Value operator*(double a, PlacedValue b) { return mul(a, b.value, b.where); }
inline Value operator/(double a, PlacedValue b) { return div(a, b.value, b.where); }

Value neg(Operand x, Where where = Where::here());
Value exp(Operand x, Where where = Where::here());
Value log(Operand x, Where where = Where::here());
Value sqrt(Operand x, Where where = Where::here());
Value square(Operand x, Where where = Where::here());
/// |x|; its gradient is sign(x), 0 at 0.
Value abs(Operand x, Where where = Where::here());
/// -1, 0 or 1; its gradient is 0.
Value sign(Operand x, Where where = Where::here());
Value tanh(Operand x, Where where = Where::here());
/// 1 / (1 + exp(-x))
Value sigmoid(Operand x, Where where = Where::here());
/// max(x, 0); NaN stays.
Value relu(Operand x, Where where = Where::here());
/// log(1 + exp(x)), without overflow.
Value softplus(Operand x, Where where = Where::here());
inline Value operator-(PlacedValue x) { return neg(x.value, x.where); }

/// max(min(x, hi), lo): TensorFlow's order, so lo wins if lo > hi. The bounds may be numbers or
/// values that broadcast to x's shape. Where x is clipped its gradient is 0 and goes to the bound;
/// a NaN stays.
Value clip_by_value(Operand x, Operand lo, Operand hi, Where where = Where::here());
/// a where condition is not 0, else b; all of one dtype. No gradient flows to the condition.
Value where(Operand condition, Operand a, Operand b, Where where = Where::here());
/// 1 where a > b, else 0, in their type; its gradient is 0.
Value greater(Operand a, Operand b, Where where = Where::here());
/// To another dtype: to integers by truncation, to the nearest one there is if it does not fit, NaN
/// to 0. The gradient is cast back; from or to an integer type there is none.
Value cast(Operand x, DType dtype, Where where = Where::here());
/// x, through which no gradient flows.
Value stop_gradient(Operand x, Where where = Where::here());
/// Zeroes each element with probability `rate` and scales the others by 1 / (1 - rate). Draws from
/// (seed, step, node, element) of the tape or the step.
Value dropout(Operand x, double rate, Where where = Where::here());

// ---------------------------------------------------------------- products
struct MatMulOptions {
  bool transpose_a = false, transpose_b = false;
};
/// a [n, k] times b [k, m], either one given transposed.
Value matmul(Operand a, Operand b, MatMulOptions options = {}, Where where = Where::here());

// ---------------------------------------------------------------- reductions
struct Reduce {
  std::vector<int> axes{};  // empty: all of them
  bool keepdims = false;
};
Value reduce_sum(Operand x, Reduce options = {}, Where where = Where::here());
Value reduce_mean(Operand x, Reduce options = {}, Where where = Where::here());
/// NaN if any element is; equal maxima share the gradient evenly, as in TensorFlow.
Value reduce_max(Operand x, Reduce options = {}, Where where = Where::here());

// ---------------------------------------------------------------- shapes
/// One size may be -1.
Value reshape(Operand x, Shape shape, Where where = Where::here());
/// Axis i of the result is axis `axes[i]` of x; no axes: all reversed. A view if only axes of size
/// 1 change places.
Value transpose(Operand x, std::vector<int> axes = {}, Where where = Where::here());
Value broadcast_to(Operand x, Shape shape, Where where = Where::here());
/// All pieces of one split, in order and along its axis, are what was split: nothing is copied.
/// Along the outermost axis some that are neighbours will do, and stacks of them likewise.
Value concat(std::span<const Value> values, Axis axis = {}, Where where = Where::here());
/// Equal pieces along an axis; along axis 0 they are views.
Values split(Operand x, int64_t pieces, Axis axis = {}, Where where = Where::here());
/// Pieces of the given sizes.
Values split(Operand x, std::vector<int64_t> sizes, Axis axis = {}, Where where = Where::here());
/// A new axis over values of one shape.
Value stack(std::span<const Value> values, Axis axis = {}, Where where = Where::here());
Values unstack(Operand x, Axis axis = {}, Where where = Where::here());
/// From `begin`, `size` elements an axis; a size of -1 reaches the end.
Value slice(Operand x, std::vector<int64_t> begin, std::vector<int64_t> size,
            Where where = Where::here());
struct Padding {
  int64_t before = 0, after = 0;
  friend bool operator==(const Padding&, const Padding&) = default;
};
/// Surrounds with zeros, one pair an axis.
Value pad(Operand x, std::vector<Padding> paddings, Where where = Where::here());

// ---------------------------------------------------------------- rows
/// Rows of `params` (axis 0) at `indices`, an integer value of any shape: result
/// [indices..., params[1:]...]. The gradient with respect to a variable stays sparse. An index
/// outside throws on a tape; a recording, which cannot look at them, gives a row of NaN for it
/// (integers: zeros), and GradientRecording::run throws if it occurs in a sparse gradient.
Value gather(Operand params, Operand indices, Where where = Where::here());
/// Zeros of `shape`, with rows of `values` added at `indices`: the transpose of gather. An index
/// outside is passed over.
Value scatter_rows(Operand indices, Operand values, Shape shape, Where where = Where::here());
/// [indices..., depth] of zeros, with 1 at each index; an index outside gives zeros.
Value one_hot(Operand indices, int64_t depth, DType dtype = DType::float32,
              Where where = Where::here());

// ---------------------------------------------------------------- softmax and losses, over the
// last axis. Losses are one number a row, not reduced: take reduce_mean.
Value softmax(Operand logits, Where where = Where::here());
Value log_softmax(Operand logits, Where where = Where::here());
/// labels: probabilities, of the shape of logits [..., classes] -> [...]. The gradient with respect
/// to the logits is softmax - labels; labels get -log_softmax.
Value softmax_cross_entropy_with_logits(Operand labels, Operand logits,
                                        Where where = Where::here());
/// labels: integers [...]; logits [..., classes] -> [...]. A label outside gives NaN, as TensorFlow
/// on GPU does; readers of data check labels.
Value sparse_softmax_cross_entropy_with_logits(Operand logits, Operand labels,
                                               Where where = Where::here());
/// max(x, 0) - x z + log(1 + exp(-|x|)), elementwise, for logits x and labels z.
Value sigmoid_cross_entropy_with_logits(Operand labels, Operand logits,
                                        Where where = Where::here());
/// (a - b)^2, elementwise.
Value squared_error(Operand labels, Operand predictions, Where where = Where::here());
/// |a - b|, elementwise.
Value absolute_error(Operand labels, Operand predictions, Where where = Where::here());

// ---------------------------------------------------------------- whole sequences
/// Clips of the error signal at every time step of the backward pass of a recurrent network;
/// infinity clips nothing. docs/gradient-processing.md says when to use which.
struct StepClip {
  /// By value: each element of the gradient of the gates, before sigmoid and tanh, is clamped to
  /// [-gates, gates] (Graves: "Generating sequences with recurrent neural networks", 2013).
  double gates = std::numeric_limits<double>::infinity();
  /// By norm: what a step hands back to the state before it is scaled, in each row of the batch, to
  /// at most this length. The length of all states together, [dc, dh]; what comes from above is no
  /// part of it (Kaldi's BackpropTruncationComponent). A row whose length is not finite stays.
  double state = std::numeric_limits<double>::infinity();
  friend bool operator==(const StepClip&, const StepClip&) = default;
};
/// What the gradient of a clipped cell is.
enum class CellClipGradient : uint8_t {
  zero,             // where clipped, as in TensorFlow's LSTMCell
  straight_through  // as if nothing were clipped, as in TensorFlow's BlockLSTM
};
struct Lstm {
  double forget_bias = 1;
  double cell_clip = std::numeric_limits<double>::infinity();
  CellClipGradient cell_clip_gradient = CellClipGradient::zero;
  StepClip step_clip{};
  friend bool operator==(const Lstm&, const Lstm&) = default;
};
struct LstmResult {
  Value outputs;  // h of every step [T, B, H]
  Value h, c;     // after the last step [B, H]
};
/// An LSTM over a whole sequence in one op, TensorFlow's BasicLSTMCell: x [T, B, I], kernel
/// [I + H, 4H] with gates i, j, f, o, bias [4H], first state h and c [B, H];
/// c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j), h' = tanh(c') sigmoid(o). With a
/// `cell_clip`, more than 0, c' is clamped to [-cell_clip, cell_clip]; a NaN stays.
/// Its backward is fused too and has no second derivative.
LstmResult lstm(Operand x, Operand kernel, Operand bias, Operand h, Operand c, Lstm options = {},
                Where where = Where::here());

/// A constant of ones.
Value ones(const Spec& spec, Graph& graph);

}  // namespace rein
