// Losses with weights and a reduction (tf.losses), as compositions of ops. Predictions and labels
// have one shape; errors are InvalidArgument.
//
//     Value loss = mean_squared_error(labels, predictions);
//     Value loss = huber_loss(labels, predictions, {.delta = 0.5, .weights = mask});
#pragma once

#include <optional>

#include "rein/compute/ops.h"

namespace rein {

/// How weighted losses become the result. A division by 0 gives 0, as in TensorFlow.
enum class Reduction : uint8_t {
  none,                     // the weighted losses as they are
  sum,                      // their sum
  mean,                     // sum / sum of the weights
  sum_over_batch_size,      // sum / number of losses
  sum_over_nonzero_weights  // sum / number of losses whose weight is not 0
};

/// Weights are a number, or have the rank of the losses and, in each axis, their size or 1. With
/// none, every weight is 1.
struct LossOptions {
  std::optional<Operand> weights{};
  Reduction reduction = Reduction::sum_over_nonzero_weights;
};

/// Losses times weights, reduced (tf.losses.compute_weighted_loss).
Value compute_weighted_loss(Value losses, LossOptions options = {}, Where where = Where::here());

/// (p - y)^2
Value mean_squared_error(Operand labels, Operand predictions, LossOptions options = {},
                         Where where = Where::here());
/// |p - y|
Value absolute_difference(Operand labels, Operand predictions, LossOptions options = {},
                          Where where = Where::here());
/// log(cosh(p - y))
Value log_cosh(Operand labels, Operand predictions, LossOptions options = {},
               Where where = Where::here());

struct HuberOptions {
  double delta = 1;  // more than 0
  std::optional<Operand> weights{};
  Reduction reduction = Reduction::sum_over_nonzero_weights;
};
/// e^2 / 2 for e = |p - y| up to delta, delta (e - delta / 2) beyond (Huber 1964).
Value huber_loss(Operand labels, Operand predictions, HuberOptions options = {},
                 Where where = Where::here());

struct SmoothL1Options {
  double beta = 1;  // more than 0
  std::optional<Operand> weights{};
  Reduction reduction = Reduction::sum_over_nonzero_weights;
};
/// The Huber loss divided by its delta, here called beta: e^2 / (2 beta), or e - beta / 2.
Value smooth_l1(Operand labels, Operand predictions, SmoothL1Options options = {},
                Where where = Where::here());

struct SoftmaxCrossEntropyOptions {
  double label_smoothing = 0;  // in [0, 1]: labels (1 - s) + s / classes
  bool true_gradient = false;  // see below
  std::optional<Operand> weights{};
  Reduction reduction = Reduction::sum_over_nonzero_weights;
};
/// softmax_cross_entropy_with_logits of labels [..., classes]: a loss a row. The gradient with
/// respect to the logits is softmax - labels, as in TensorFlow; where the labels of a row do not
/// sum to 1 that is not the derivative, which is softmax sum(labels) - labels, as in PyTorch:
/// `true_gradient` takes it.
Value softmax_cross_entropy(Operand labels, Operand logits, SoftmaxCrossEntropyOptions options = {},
                            Where where = Where::here());

/// -sum of labels log(p) over the last axis, for p = probabilities divided by their sum, then
/// clipped to [1e-7, 1 - 1e-7] (Keras' CategoricalCrossentropy without from_logits): a loss a row.
/// Of logits take softmax_cross_entropy, which loses no digits.
Value categorical_cross_entropy(Operand labels, Operand probabilities, LossOptions options = {},
                                Where where = Where::here());

struct SparseSoftmaxCrossEntropyOptions {
  std::optional<Operand> class_weights{};  // [classes]: that of a label is a factor of its weight
  std::optional<int64_t> ignore_index{};   // this label has the weight 0; it may be no class
  double label_smoothing = 0;
  std::optional<Operand> weights{};
  Reduction reduction = Reduction::sum_over_nonzero_weights;
};
/// sparse_softmax_cross_entropy_with_logits of labels [...] and logits [..., classes]: a loss a
/// row. With `Reduction::mean` it is PyTorch's CrossEntropyLoss: smoothed labels then have the
/// weight of each class they are spread over.
Value sparse_softmax_cross_entropy(Operand labels, Operand logits,
                                   SparseSoftmaxCrossEntropyOptions options = {},
                                   Where where = Where::here());

/// sigmoid_cross_entropy_with_logits whose positive term is multiplied by `pos_weight`, a number or
/// a value that broadcasts: (1 - z) x + (1 + (q - 1) z) log(1 + exp(-x)), elementwise.
Value weighted_cross_entropy_with_logits(Operand labels, Operand logits, Operand pos_weight,
                                         Where where = Where::here());

/// sum of x^2, halved (tf.nn.l2_loss).
Value l2_loss(Value x, Where where = Where::here());

}  // namespace rein
