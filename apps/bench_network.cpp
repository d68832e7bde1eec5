#include "bench_network.h"

#include <numeric>
#include <string>

namespace rein::app {
namespace {

constexpr StepShape kShapes[] = {
    {"seed", 128, 28, 28, 128, 10, false, StepLoss::cross_entropy},             // rows of images
    {"charrnn", 50, 50, 65, 128, 65, true, StepLoss::cross_entropy, 65, 2},     // characters
    {"h512", 32, 64, 65, 512, 65, true, StepLoss::cross_entropy, 65},           // and wide
    {"ptb", 20, 35, 650, 650, 10000, true, StepLoss::cross_entropy, 10000, 2},  // words
    {"tiny", 1, 100, 8, 32, 10, false, StepLoss::cross_entropy},      // one short sequence
    {"amp", 1, 2048, 1, 16, 1, true, StepLoss::squared_error},        // one long audio sequence
    {"ampb", 32, 2048, 1, 16, 1, true, StepLoss::squared_error},      // and a batch of them
    {"forecast", 256, 48, 8, 64, 1, false, StepLoss::squared_error},  // many short time series
    {"dense", 128, 1, 784, 512, 10, true, StepLoss::cross_entropy, 0, 0},  // no recurrence
};

std::vector<std::shared_ptr<const RNNCell>> make_layers(Variables& vars, const StepShape& s) {
  std::vector<std::shared_ptr<const RNNCell>> layers;
  for (int i = 0; i < s.layers; ++i)
    layers.push_back(std::make_shared<BasicLSTMCell>(vars, "rnn_" + std::to_string(i),
                                                     i == 0 ? s.inputs : s.units, s.units));
  return layers;
}

}  // namespace

std::span<const StepShape> step_shapes() { return kShapes; }

StepNetwork::StepNetwork(const StepShape& s, DType type)
    : shape_(s), vars_(Seed{1}, type), out_(vars_, "out", s.units, s.outputs) {
  if (s.layers > 0)
    cell_.emplace(make_layers(vars_, s));
  else
    hidden_.emplace(vars_, "hidden", s.inputs, s.units);
  if (s.vocabulary > 0)
    table_ = vars_.add("embedding", {s.vocabulary, s.inputs}, random_uniform(-0.1, 0.1));
}

Value StepNetwork::read(const Value& input) const {
  return table_ ? gather(*table_, input) : input;
}

SequenceReport StepNetwork::inspect(const Tensor& input, ThreadTeam& team) const {
  if (!cell_) return {};
  GradientTape tape({.team = &team});
  return rein::inspect(*cell_, read(tape.input(input)));
}

Value StepNetwork::predict(const Value& input) const {
  const Value x = read(input);
  if (hidden_) return out_(tanh((*hidden_)(x)));
  const Value zero = x.graph().constant(Tensor({x.shape()[1], shape_.units}, vars_.dtype()));
  const auto run = cell_->sequence(x, {Values(static_cast<size_t>(2 * shape_.layers), zero)});
  return out_(shape_.every_step ? run.outputs : run.last);
}

Value StepNetwork::cost(const Value& input, const Value& target) const {
  const Value prediction = reshape(predict(input), {shape_.predictions(), shape_.outputs});
  return reduce_mean(shape_.loss == StepLoss::cross_entropy
                         ? sparse_softmax_cross_entropy_with_logits(prediction, target)
                         : squared_error(target, prediction));
}

Value StepNetwork::losses(const Value& input, const Value& target) const {
  const auto swapped = [](const Value& v) {
    std::vector<int> axes(static_cast<size_t>(v.shape().rank()));
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes[0], axes[1]);
    return transpose(v, axes);
  };
  Value prediction = predict(swapped(input));
  if (shape_.every_step) prediction = swapped(prediction);
  const Value all = shape_.loss == StepLoss::cross_entropy
                        ? sparse_softmax_cross_entropy_with_logits(prediction, target)
                        : squared_error(target, prediction);
  return reduce_mean(reshape(all, {all.shape()[0], -1}), {.axes = {1}});
}

Step StepNetwork::step(int threads, StepWay way, ProductOptions products) {
  const AnyRule rule = Adam{.learning_rate = 1e-3};
  if (way == StepWay::mean)
    return record([this](Value x, Value y) { return cost(x, y); }, vars_,
                  chain(ClipByGlobalNorm{.clip_norm = 5}), rule,
                  {.threads = threads, .products = products});
  return record(
      [this](Value x, Value y) { return losses(x, y); }, vars_, chain(), rule,
      {.threads = threads,
       .products = products,
       .per_example = PerExample{.clip_norm = 0.1, .one_by_one = way == StepWay::one_by_one}});
}

Tensor draw_inputs(const StepShape& s) {
  const RandomStream random(Seed{2}, stream_of("inputs"));
  if (s.vocabulary > 0) {
    Tensor words({s.steps, s.batch}, DType::int32);
    auto ids = words.flat<int32_t>();
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int32_t>(random.below(i, static_cast<uint64_t>(s.vocabulary)));
    return words;
  }
  Tensor x({s.steps, s.batch, s.inputs});
  auto numbers = x.flat<float>();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(random.normal(i));
  return x;
}

Tensor draw_targets(const StepShape& s) {
  const RandomStream random(Seed{2}, stream_of("targets"));
  if (s.loss == StepLoss::squared_error) {
    Tensor y({s.predictions(), s.outputs});
    auto numbers = y.flat<float>();
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(random.normal(i));
    return y;
  }
  Tensor y({s.predictions()}, DType::int32);
  auto labels = y.flat<int32_t>();
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<int32_t>(random.below(i, static_cast<uint64_t>(s.outputs)));
  return y;
}

Tensor inputs_by_example(const StepShape& s) {
  const Tensor x = draw_inputs(s);
  Shape shape = x.shape();
  std::swap(shape[0], shape[1]);
  return x.piece(0, shape);
}

Tensor targets_by_example(const StepShape& s) {
  const Tensor y = draw_targets(s);
  if (!s.every_step) return y;
  Shape shape{s.batch, s.steps};
  if (y.shape().rank() == 2) shape.push_back(s.outputs);
  return y.piece(0, shape);
}

}  // namespace rein::app
