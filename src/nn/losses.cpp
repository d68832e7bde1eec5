#include "rein/nn/losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "rein/compute/graph.h"

namespace rein {
namespace {

Value zeros_like(const Value& x) { return x.graph().constant(Tensor(x.spec())); }

// x / y, 0 where y is 0; of single numbers.
Value divide_or_zero(const Value& x, const Value& y, Where where) {
  const Value present = abs(sign(y, where), where);
  const Value quotient = div(x, add(y, sub(1.0, present, where), where), where);
  return rein::where(present, quotient, zeros_like(quotient), where);
}

// Losses that are multiplied by their weights already.
Value reduce(const Value& weighted, const std::optional<Value>& weights, Reduction reduction,
             Where where) {
  if (reduction == Reduction::none) return weighted;
  const Value total = reduce_sum(weighted, {}, where);
  if (reduction == Reduction::sum) return total;
  const double n = static_cast<double>(std::max<int64_t>(1, weighted.spec().size()));
  if (!weights || reduction == Reduction::sum_over_batch_size) return div(total, n, where);
  const Value counted = reduction == Reduction::mean ? *weights : abs(sign(*weights, where), where);
  const double copies = n / static_cast<double>(std::max<int64_t>(1, weights->spec().size()));
  return divide_or_zero(total, mul(reduce_sum(counted, {}, where), copies, where), where);
}

// The weights beside losses of this shape, as a value.
std::optional<Value> weights_of(std::string_view op, const Value& losses,
                                const std::optional<Operand>& weights, Where where) {
  if (!weights) return std::nullopt;
  const Operand both[] = {losses, *weights};
  const Value w = Operand::resolve(op, both, where)[1];
  const Shape &have = w.shape(), &want = losses.shape();
  bool fits = have.rank() == 0 || have.rank() == want.rank();
  for (int i = 0; fits && i < have.rank(); ++i) fits = have[i] == want[i] || have[i] == 1;
  if (!fits)
    throw InvalidArgument(op,
                          fmt::format("weights are one number, or of each axis of the losses the "
                                      "size or 1, got weights {} for losses {}",
                                      to_string(have), to_string(want)),
                          where);
  return w;
}

Value weigh(std::string_view op, const Value& losses, const std::optional<Operand>& weights,
            Reduction reduction, Where where) {
  const auto w = weights_of(op, losses, weights, where);
  return reduce(w ? mul(losses, *w, where) : losses, w, reduction, where);
}

// Labels and predictions as values, of one shape.
Values same_shape(std::string_view op, Operand labels, Operand predictions, Where where) {
  const Operand both[] = {std::move(labels), std::move(predictions)};
  Values in = Operand::resolve(op, both, where);
  if (in[0].shape() != in[1].shape())
    throw InvalidArgument(op,
                          fmt::format("both need the same shape, got labels {} and {}",
                                      to_string(in[0].shape()), to_string(in[1].shape())),
                          where);
  return in;
}

void check_positive(std::string_view op, std::string_view name, double x, Where where) {
  if (!(x > 0)) throw InvalidArgument(op, fmt::format("{} is {}; it must be > 0", name, x), where);
}

void check_smoothing(std::string_view op, double s, Where where) {
  if (!(s >= 0 && s <= 1))
    throw InvalidArgument(op, fmt::format("label_smoothing is {}; it must be in [0, 1]", s), where);
}

// labels [..., classes] moved towards the uniform distribution.
Value smooth(const Value& labels, double s, Where where) {
  const double uniform = s / static_cast<double>(labels.shape().back());
  return add(mul(labels, 1 - s, where), uniform, where);
}

// As softmax_cross_entropy_with_logits, but with the derivative for labels of any sum.
Value composed_cross_entropy(const Value& labels, const Value& logits, Where where) {
  const Value terms = mul(labels, log_softmax(logits, where), where);
  return neg(reduce_sum(terms, {.axes = {-1}}, where), where);
}

// One number a class, as a value beside the logits.
std::optional<Value> class_weights_of(std::string_view op, const Value& logits,
                                      const std::optional<Operand>& weights, Where where) {
  if (!weights) return std::nullopt;
  const Operand both[] = {logits, *weights};
  const Value w = Operand::resolve(op, both, where)[1];
  if (logits.shape().rank() == 0 || w.shape() != Shape{logits.shape().back()})
    throw InvalidArgument(op,
                          fmt::format("class_weights has one number a class, got {} for logits {}",
                                      to_string(w.shape()), to_string(logits.shape())),
                          where);
  return w;
}

// The labels with class 0 in place of `index`, and 0 where it stood, 1 elsewhere. In float64, which
// holds every label exactly.
std::pair<Value, Value> ignore(const Value& labels, int64_t index, Where where) {
  const Value number = cast(labels, DType::float64, where);
  const Value kept = abs(sign(sub(number, static_cast<double>(index), where), where), where);
  return {cast(mul(number, kept, where), labels.dtype(), where), kept};
}

// Cross entropies of smoothed labels; each class it is spread over counts with its weight.
Value smoothed_losses(const Value& labels, const Value& logits, double smoothing,
                      const std::optional<Value>& class_weights, Where where) {
  const int64_t classes = logits.shape().rank() > 0 ? logits.shape().back() : 1;
  const Value target = smooth(one_hot(labels, classes, logits.dtype(), where), smoothing, where);
  if (!class_weights) return softmax_cross_entropy_with_logits(target, logits, where);
  return composed_cross_entropy(mul(target, *class_weights, where), logits, where);
}

// e^2 / 2 up to delta, delta (e - delta / 2) beyond, for e = |labels - predictions|.
Value huber(Operand labels, Operand predictions, double delta, Where where) {
  const Value e = absolute_error(std::move(labels), std::move(predictions), where);
  const Value quadratic = minimum(e, delta, where);
  const Value linear = sub(e, quadratic, where);
  return add(mul(square(quadratic, where), 0.5, where), mul(linear, delta, where), where);
}

}  // namespace

Value compute_weighted_loss(Value losses, LossOptions options, Where where) {
  return weigh("compute_weighted_loss", losses, options.weights, options.reduction, where);
}

Value mean_squared_error(Operand labels, Operand predictions, LossOptions options, Where where) {
  const Value losses = squared_error(std::move(labels), std::move(predictions), where);
  return weigh("mean_squared_error", losses, options.weights, options.reduction, where);
}

Value absolute_difference(Operand labels, Operand predictions, LossOptions options, Where where) {
  const Value losses = absolute_error(std::move(labels), std::move(predictions), where);
  return weigh("absolute_difference", losses, options.weights, options.reduction, where);
}

Value log_cosh(Operand labels, Operand predictions, LossOptions options, Where where) {
  const Values in = same_shape("log_cosh", std::move(labels), std::move(predictions), where);
  const Value e = sub(in[1], in[0], where);
  // log(cosh(e)) = e + log(1 + exp(-2 e)) - log(2)
  const Value losses =
      sub(add(e, softplus(mul(e, -2.0, where), where), where), 0.69314718055994530942, where);
  return weigh("log_cosh", losses, options.weights, options.reduction, where);
}

Value huber_loss(Operand labels, Operand predictions, HuberOptions options, Where where) {
  check_positive("huber_loss", "delta", options.delta, where);
  const Value losses = huber(std::move(labels), std::move(predictions), options.delta, where);
  return weigh("huber_loss", losses, options.weights, options.reduction, where);
}

Value smooth_l1(Operand labels, Operand predictions, SmoothL1Options options, Where where) {
  check_positive("smooth_l1", "beta", options.beta, where);
  const Value losses = div(huber(std::move(labels), std::move(predictions), options.beta, where),
                           options.beta, where);
  return weigh("smooth_l1", losses, options.weights, options.reduction, where);
}

Value softmax_cross_entropy(Operand labels, Operand logits, SoftmaxCrossEntropyOptions options,
                            Where where) {
  constexpr std::string_view op = "softmax_cross_entropy";
  check_smoothing(op, options.label_smoothing, where);
  const Operand both[] = {std::move(labels), std::move(logits)};
  Values in = Operand::resolve(op, both, where);
  if (options.label_smoothing > 0 && in[0].shape().rank() > 0)
    in[0] = smooth(in[0], options.label_smoothing, where);
  const Value losses = options.true_gradient
                           ? composed_cross_entropy(in[0], in[1], where)
                           : softmax_cross_entropy_with_logits(in[0], in[1], where);
  return weigh(op, losses, options.weights, options.reduction, where);
}

Value categorical_cross_entropy(Operand labels, Operand probabilities, LossOptions options,
                                Where where) {
  constexpr std::string_view op = "categorical_cross_entropy";
  const Values in = same_shape(op, std::move(labels), std::move(probabilities), where);
  const Value sum = reduce_sum(in[1], {.axes = {-1}, .keepdims = true}, where);
  const Value p = clip_by_value(div(in[1], sum, where), 1e-7, 1 - 1e-7, where);
  const Value losses =
      neg(reduce_sum(mul(in[0], log(p, where), where), {.axes = {-1}}, where), where);
  return weigh(op, losses, options.weights, options.reduction, where);
}

Value sparse_softmax_cross_entropy(Operand labels, Operand logits,
                                   SparseSoftmaxCrossEntropyOptions options, Where where) {
  constexpr std::string_view op = "sparse_softmax_cross_entropy";
  check_smoothing(op, options.label_smoothing, where);
  const Operand both[] = {std::move(labels), std::move(logits)};
  const Values in = Operand::resolve(op, both, where);
  Value label = in[0];
  const Value logit = in[1];
  const auto class_weights = class_weights_of(op, logit, options.class_weights, where);
  std::optional<Value> kept;
  if (options.ignore_index) std::tie(label, kept) = ignore(label, *options.ignore_index, where);

  const bool smoothed = options.label_smoothing > 0;
  Value losses = smoothed
                     ? smoothed_losses(label, logit, options.label_smoothing, class_weights, where)
                     : sparse_softmax_cross_entropy_with_logits(logit, label, where);
  if (kept) {  // whatever the losses of the others are, NaN included
    kept = cast(*kept, losses.dtype(), where);
    losses = rein::where(*kept, losses, zeros_like(losses), where);
  }

  auto weights = weights_of(op, losses, options.weights, where);
  auto multiply = [&](std::optional<Value>& product, const Value& by) {
    product = product ? mul(*product, by, where) : by;
  };
  if (kept) multiply(weights, *kept);
  std::optional<Value> factor = weights;
  if (class_weights) {
    const Value of_label = gather(*class_weights, label, where);
    multiply(weights, of_label);
    if (!smoothed) multiply(factor, of_label);  // smoothed losses have theirs
  }
  return reduce(factor ? mul(losses, *factor, where) : losses, weights, options.reduction, where);
}

Value weighted_cross_entropy_with_logits(Operand labels, Operand logits, Operand pos_weight,
                                         Where where) {
  const Values in =
      same_shape("weighted_cross_entropy_with_logits", std::move(labels), std::move(logits), where);
  const Value &z = in[0], &x = in[1];
  const Value factor = add(mul(z, std::move(pos_weight), where), sub(1.0, z, where), where);
  return add(mul(sub(1.0, z, where), x, where), mul(factor, softplus(neg(x, where), where), where),
             where);
}

Value l2_loss(Value x, Where where) {
  return mul(reduce_sum(square(x, where), {}, where), 0.5, where);
}

}  // namespace rein
