#include "rein/nn/losses.h"

#include <fmt/format.h>

#include <algorithm>

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
  const Value e = sub(std::move(predictions), std::move(labels), where);
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
  const Value losses = softmax_cross_entropy_with_logits(in[0], in[1], where);
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

  std::optional<Value> kept;  // 1 for labels that count, 0 for those to ignore
  if (options.ignore_index) {
    const Value number = cast(label, DType::float64, where);  // exact
    const Value differs =
        abs(sign(sub(number, static_cast<double>(*options.ignore_index), where), where), where);
    label = cast(mul(number, differs, where), label.dtype(), where);  // class 0 in their place
    kept = cast(differs, logit.dtype(), where);
  }

  const bool smoothed = options.label_smoothing > 0 && logit.shape().rank() > 0;
  Value losses;
  if (smoothed) {
    const Value target = smooth(one_hot(label, logit.shape().back(), logit.dtype(), where),
                                options.label_smoothing, where);
    if (options.class_weights) {
      const Value weighted = mul(target, *options.class_weights, where);
      losses =
          neg(reduce_sum(mul(weighted, log_softmax(logit, where), where), {.axes = {-1}}, where),
              where);
    } else {
      losses = softmax_cross_entropy_with_logits(target, logit, where);
    }
  } else {
    losses = sparse_softmax_cross_entropy_with_logits(logit, label, where);
  }

  auto weights = weights_of(op, losses, options.weights, where);
  auto multiply_weights = [&](const Value& by) {
    weights = weights ? mul(*weights, by, where) : by;
  };
  if (kept) {
    losses = rein::where(*kept, losses, zeros_like(losses), where);  // even if not finite
    multiply_weights(*kept);
  }
  Value weighted = weights ? mul(losses, *weights, where) : losses;
  if (options.class_weights) {
    const Value of_label = gather(*options.class_weights, label, where);
    multiply_weights(of_label);
    if (!smoothed) weighted = mul(weighted, of_label, where);
  }
  return reduce(weighted, weights, options.reduction, where);
}

Value weighted_cross_entropy_with_logits(Operand labels, Operand logits, Operand pos_weight,
                                         Where where) {
  const Operand all[] = {std::move(labels), std::move(logits), std::move(pos_weight)};
  const Values in = Operand::resolve("weighted_cross_entropy_with_logits", all, where);
  const Value &z = in[0], &x = in[1], &q = in[2];
  const Value factor = add(mul(sub(q, 1.0, where), z, where), 1.0, where);
  return add(mul(sub(1.0, z, where), x, where), mul(factor, softplus(neg(x, where), where), where),
             where);
}

Value l2_loss(Value x, Where where) {
  return mul(reduce_sum(square(x, where), {}, where), 0.5, where);
}

}  // namespace rein
