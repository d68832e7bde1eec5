#include "bench_network.h"

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

StepNetwork::StepNetwork(const StepShape& s)
    : shape_(s), cell_(make_layers(vars_, s)), out_(vars_, "out", s.units, s.outputs) {
  if (s.vocabulary > 0)
    table_ = vars_.add("embedding", {s.vocabulary, s.inputs}, random_uniform(-0.1, 0.1));
}

Value StepNetwork::cost(const Value& input, const Value& target) const {
  const Value x = table_ ? gather(*table_, input) : input;
  const Value zero = x.graph().constant(Tensor({shape_.batch, shape_.units}));
  const auto run = cell_.sequence(x, {Values(static_cast<size_t>(2 * shape_.layers), zero)});
  const Value seen =
      shape_.every_step ? reshape(run.outputs, {shape_.predictions(), shape_.units}) : run.last;
  const Value prediction = out_(seen);
  return reduce_mean(shape_.loss == StepLoss::cross_entropy
                         ? sparse_softmax_cross_entropy_with_logits(prediction, target)
                         : squared_error(target, prediction));
}

Step StepNetwork::step(int threads) {
  return record([this](Value x, Value y) { return cost(x, y); }, vars_,
                chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{.learning_rate = 1e-3},
                {.threads = threads});
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

}  // namespace rein::app
