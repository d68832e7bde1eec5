// Family loss: the losses of ops.h and of rein/nn/losses.h, and their gradients.
#include <map>

#include "golden.h"
#include "rein/compute/tape.h"
#include "rein/nn/losses.h"

namespace golden {
namespace {

using rein::Operand;
using rein::Reduction;
using rein::Tensor;
using rein::Value;

// The tensors of a case as values of one tape.
struct Inputs {
  const Case& c;
  rein::GradientTape tape{};
  std::map<std::string, Value, std::less<>> values{};

  explicit Inputs(const Case& the_case) : c(the_case) {
    for (const auto name : {"logits", "predictions", "labels", "weights", "upstream"})
      if (const Json* json = c.find(name)) values[name] = tape.input(read_tensor(*json));
  }
  bool has(std::string_view name) const { return values.find(name) != values.end(); }
  Value operator[](std::string_view name) const {
    const auto found = values.find(name);
    if (found == values.end()) throw std::runtime_error("'" + std::string(name) + "' is missing");
    return found->second;
  }
  std::optional<Operand> weights() const {
    if (!has("weights")) return {};
    return (*this)["weights"];
  }
  // A list of numbers among the attributes, in the type of the logits.
  std::optional<Operand> list(std::string_view name) const {
    const Json* json = c.attrs().find(name);
    if (!json || json->is_null()) return {};
    if (json->is_number()) return json->as<double>();
    if (json->is(Json::Kind::object)) return read_tensor(*json);
    std::vector<double> numbers;
    for (const auto& item : json->items) numbers.push_back(item.as<double>());
    const rein::Shape shape{static_cast<int64_t>(numbers.size())};
    return Tensor::copy_of<double>(shape, numbers).cast((*this)["logits"].dtype());
  }
};

using Loss = Value (*)(const Inputs&);

// Compares a loss, and the gradients of sum(upstream * loss).
template <Loss loss_of>
void run(const Case& c, Check& check) {
  const Inputs in(c);
  const Value loss = loss_of(in);
  if (const Json* want = check.want("loss")) check.equal("loss", loss.tensor(), *want);
  const Json* want = check.want("grads");
  if (!want) return;
  const Value total = in.has("upstream") ? rein::reduce_sum(loss * in["upstream"]) : loss;
  rein::Values xs;
  for (const auto& name : want->keys) xs.push_back(in[name]);
  const rein::Values grads = rein::gradients(total, xs);
  for (size_t i = 0; i < xs.size(); ++i)
    check.equal("grads." + want->keys[i], grads[i].tensor(), want->items[i]);
}

Reduction read_reduction(const Inputs& in, std::string_view otherwise) {
  const std::string name = text_or(in.c.attrs(), "reduction", otherwise);
  if (name == "none") return Reduction::none;
  if (name == "sum" || name == "weighted_sum") return Reduction::sum;
  if (name == "weighted_mean") return Reduction::mean;
  if (name == "weighted_sum_over_batch_size" || name == "sum_over_batch_size")
    return Reduction::sum_over_batch_size;
  if (name == "weighted_sum_by_nonzero_weights") return Reduction::sum_over_nonzero_weights;
  if (name == "mean") return in.has("weights") ? Reduction::mean : Reduction::sum_over_batch_size;
  throw Skip("reduction '" + name + "' is not built yet");
}

// ---------------------------------------------------------------- TensorFlow

Value softmax_cross_entropy_with_logits(const Inputs& in) {
  return rein::softmax_cross_entropy_with_logits(in["labels"], in["logits"]);
}
Value sparse_softmax_cross_entropy_with_logits(const Inputs& in) {
  return rein::sparse_softmax_cross_entropy_with_logits(in["logits"], in["labels"]);
}
Value sigmoid_cross_entropy_with_logits(const Inputs& in) {
  return rein::sigmoid_cross_entropy_with_logits(in["labels"], in["logits"]);
}
Value weighted_cross_entropy_with_logits(const Inputs& in) {
  return rein::weighted_cross_entropy_with_logits(in["labels"], in["logits"],
                                                  in.list("pos_weight").value());
}

constexpr std::string_view kTensorFlow = "weighted_sum_by_nonzero_weights";  // its default

rein::LossOptions tf_options(const Inputs& in) {
  return {.weights = in.weights(), .reduction = read_reduction(in, kTensorFlow)};
}
Value mean_squared_error(const Inputs& in) {
  return rein::mean_squared_error(in["labels"], in["predictions"], tf_options(in));
}
Value absolute_difference(const Inputs& in) {
  return rein::absolute_difference(in["labels"], in["predictions"], tf_options(in));
}
Value huber_loss(const Inputs& in) {
  return rein::huber_loss(in["labels"], in["predictions"],
                          {.delta = number_or(in.c.attrs(), "delta", 1),
                           .weights = in.weights(),
                           .reduction = read_reduction(in, kTensorFlow)});
}
Value sequence_sparse_softmax_cross_entropy(const Inputs& in) {
  return rein::sparse_softmax_cross_entropy(
      in["labels"], in["logits"],
      {.weights = in.weights(), .reduction = read_reduction(in, kTensorFlow)});
}
Value softmax_cross_entropy(const Inputs& in) {
  return rein::softmax_cross_entropy(
      in["labels"], in["logits"],
      {.label_smoothing = number_or(in.c.attrs(), "label_smoothing", 0),
       .weights = in.weights(),
       .reduction = read_reduction(in, kTensorFlow)});
}
Value l2_loss(const Inputs& in) { return rein::l2_loss(in["predictions"]); }

// ---------------------------------------------------------------- Keras

// A loss an element: Keras takes the mean over the last axis, then weighs and reduces the examples.
Value of_examples(const Inputs& in, Value elements) {
  return rein::compute_weighted_loss(
      rein::reduce_mean(elements, {.axes = {-1}}),
      {.weights = in.weights(), .reduction = read_reduction(in, "sum_over_batch_size")});
}

Value keras_squared(const Inputs& in) {
  return of_examples(in, rein::squared_error(in["labels"], in["predictions"]));
}
Value keras_absolute(const Inputs& in) {
  return of_examples(in, rein::absolute_error(in["labels"], in["predictions"]));
}
Value keras_huber(const Inputs& in) {
  return of_examples(in, rein::huber_loss(in["labels"], in["predictions"],
                                          {.delta = number_or(in.c.attrs(), "delta", 1),
                                           .reduction = Reduction::none}));
}
Value keras_log_cosh(const Inputs& in) {
  // Keras takes log(2) in float32, whatever the dtype.
  constexpr double log_2 = 0.69314718055994530942;
  constexpr double off = log_2 - double{static_cast<float>(log_2)};
  return of_examples(
      in, rein::log_cosh(in["labels"], in["predictions"], {.reduction = Reduction::none}) + off);
}
bool of_logits(const Inputs& in) { return flag_or(in.c.attrs(), "from_logits", false); }
void require_logits(const Inputs& in) {
  if (!of_logits(in)) throw Skip("this cross entropy of probabilities is not built yet");
}
Value keras_categorical(const Inputs& in) {
  const double label_smoothing = number_or(in.c.attrs(), "label_smoothing", 0);
  if (!of_logits(in) && label_smoothing == 0)
    return rein::categorical_cross_entropy(
        in["labels"], in["predictions"],
        {.weights = in.weights(), .reduction = read_reduction(in, "sum_over_batch_size")});
  require_logits(in);
  return rein::softmax_cross_entropy(in["labels"], in["logits"],
                                     {.label_smoothing = label_smoothing,
                                      .weights = in.weights(),
                                      .reduction = read_reduction(in, "sum_over_batch_size")});
}
Value keras_sparse_categorical(const Inputs& in) {
  require_logits(in);
  rein::SparseSoftmaxCrossEntropyOptions options{
      .weights = in.weights(), .reduction = read_reduction(in, "sum_over_batch_size")};
  if (const Json* ignored = in.c.attrs().find("ignore_class")) {
    options.ignore_index = ignored->as<int64_t>();
    if (options.reduction == Reduction::sum_over_batch_size)
      options.reduction = Reduction::sum_over_nonzero_weights;  // its mean is over what is left
  }
  return rein::sparse_softmax_cross_entropy(in["labels"], in["logits"], options);
}
Value keras_binary(const Inputs& in) {
  require_logits(in);
  return of_examples(in, rein::sigmoid_cross_entropy_with_logits(in["labels"], in["logits"]));
}

// ---------------------------------------------------------------- PyTorch

Value torch_cross_entropy(const Inputs& in) {
  if (in["logits"].shape().rank() != 2)
    throw Skip("classes on another axis than the last are not built yet");
  const double smoothing = number_or(in.c.attrs(), "label_smoothing", 0);
  const bool classes = !rein::is_floating(in["labels"].dtype());
  const bool mean = text_or(in.c.attrs(), "reduction", "mean") == "mean";
  if (!classes) {
    if (in.list("weight")) throw Skip("class weights of probabilities are not built yet");
    return rein::softmax_cross_entropy(in["labels"], in["logits"],
                                       {.label_smoothing = smoothing,
                                        .true_gradient = true,
                                        .reduction = read_reduction(in, "mean")});
  }
  return rein::sparse_softmax_cross_entropy(
      in["labels"], in["logits"],
      {.class_weights = in.list("weight"),
       .ignore_index = static_cast<int64_t>(number_or(in.c.attrs(), "ignore_index", -100)),
       .label_smoothing = smoothing,
       .reduction = mean ? Reduction::mean : read_reduction(in, "mean")});
}
Value torch_binary(const Inputs& in) {
  const Value losses = rein::weighted_cross_entropy_with_logits(
      in["labels"], in["logits"], in.list("pos_weight").value_or(Operand(1.0)));
  return rein::compute_weighted_loss(losses, {.reduction = read_reduction(in, "mean")});
}
rein::LossOptions torch_options(const Inputs& in) {
  return {.reduction = read_reduction(in, "mean")};
}
Value torch_squared(const Inputs& in) {
  return rein::mean_squared_error(in["labels"], in["predictions"], torch_options(in));
}
Value torch_absolute(const Inputs& in) {
  return rein::absolute_difference(in["labels"], in["predictions"], torch_options(in));
}
Value torch_smooth_l1(const Inputs& in) {
  return rein::smooth_l1(
      in["labels"], in["predictions"],
      {.beta = number_or(in.c.attrs(), "beta", 1), .reduction = read_reduction(in, "mean")});
}
Value torch_huber(const Inputs& in) {
  return rein::huber_loss(
      in["labels"], in["predictions"],
      {.delta = number_or(in.c.attrs(), "delta", 1), .reduction = read_reduction(in, "mean")});
}

}  // namespace

Family loss_family() {
  const Names logits{"logits", "labels", "upstream"};
  const Names weighted{"logits", "labels", "weights", "upstream"};
  const Names errors{"predictions", "labels", "weights", "upstream"};
  const Names errors_only{"predictions", "labels", "upstream"};
  const Names expect{"loss", "grads"};
  const auto tf = [&](std::string_view op, const Names& attrs, const Names& inputs, auto f) {
    return Handler{op, "tensorflow", attrs, inputs, expect, f};
  };
  const auto keras = [&](std::string_view op, const Names& attrs, const Names& inputs, auto f) {
    return Handler{op, "keras", attrs, inputs, expect, f};
  };
  const auto torch = [&](std::string_view op, const Names& attrs, const Names& inputs, auto f) {
    return Handler{op, "pytorch", attrs, inputs, expect, f};
  };
  return {
      tf("softmax_cross_entropy_with_logits", {}, logits, run<softmax_cross_entropy_with_logits>),
      tf("sparse_softmax_cross_entropy_with_logits", {}, logits,
         run<sparse_softmax_cross_entropy_with_logits>),
      tf("sigmoid_cross_entropy_with_logits", {}, logits, run<sigmoid_cross_entropy_with_logits>),
      tf("weighted_cross_entropy_with_logits", {"pos_weight"}, logits,
         run<weighted_cross_entropy_with_logits>),
      tf("mean_squared_error", {"reduction"}, errors, run<mean_squared_error>),
      tf("absolute_difference", {"reduction"}, errors, run<absolute_difference>),
      tf("huber_loss", {"reduction", "delta"}, errors, run<huber_loss>),
      tf("sequence_sparse_softmax_cross_entropy", {"reduction"}, weighted,
         run<sequence_sparse_softmax_cross_entropy>),
      tf("softmax_cross_entropy", {"reduction", "label_smoothing"}, weighted,
         run<softmax_cross_entropy>),
      tf("l2_loss", {}, {"predictions", "upstream"}, run<l2_loss>),
      keras("MeanSquaredError", {"reduction"}, errors, run<keras_squared>),
      keras("MeanAbsoluteError", {"reduction"}, errors, run<keras_absolute>),
      keras("Huber", {"reduction", "delta"}, errors, run<keras_huber>),
      keras("LogCosh", {"reduction"}, errors, run<keras_log_cosh>),
      keras("CategoricalCrossentropy", {"reduction", "from_logits", "label_smoothing"},
            {"predictions", "logits", "labels", "weights", "upstream"}, run<keras_categorical>),
      keras("SparseCategoricalCrossentropy", {"reduction", "from_logits", "ignore_class"},
            {"predictions", "logits", "labels", "weights", "upstream"},
            run<keras_sparse_categorical>),
      keras("BinaryCrossentropy", {"reduction", "from_logits"},
            {"predictions", "logits", "labels", "weights", "upstream"}, run<keras_binary>),
      torch("CrossEntropyLoss", {"reduction", "weight", "ignore_index", "label_smoothing"}, logits,
            run<torch_cross_entropy>),
      torch("BCEWithLogitsLoss", {"reduction", "pos_weight"}, logits, run<torch_binary>),
      torch("MSELoss", {"reduction"}, errors_only, run<torch_squared>),
      torch("L1Loss", {"reduction"}, errors_only, run<torch_absolute>),
      torch("SmoothL1Loss", {"reduction", "beta"}, errors_only, run<torch_smooth_l1>),
      torch("HuberLoss", {"reduction", "delta"}, errors_only, run<torch_huber>),
  };
}

}  // namespace golden
