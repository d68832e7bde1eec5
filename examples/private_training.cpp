// Private training: what the network becomes says little about any single example.
#include <rein/rein.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "toy_images.h"

using namespace rein;

namespace {

// Each example of `data` with probability `rate`. A recorded step takes batches of one size: what
// is not filled weighs 0.
struct Sample {
  Tensor x, y, weight;
};
Sample poisson_sample(const ToyBatch& data, double rate, int64_t capacity, Seed seed,
                      uint64_t step) {
  Shape shape = data.x.shape();
  shape[0] = capacity;
  Sample s{Tensor(shape), Tensor({capacity}, DType::int32), Tensor({capacity})};
  const auto width = static_cast<size_t>(data.x.size() / data.x.shape()[0]);
  const RandomStream random(seed, step);
  size_t n = 0;
  for (size_t i = 0; i < static_cast<size_t>(data.y.size()); ++i) {
    if (random.uniform(i) >= rate || n == static_cast<size_t>(capacity)) continue;
    std::ranges::copy(data.x.flat<float>().subspan(i * width, width),
                      s.x.flat<float>().begin() + static_cast<std::ptrdiff_t>(n * width));
    s.y.flat<int32_t>()[n] = data.y.flat<int32_t>()[i];
    s.weight.flat<float>()[n++] = 1;
  }
  return s;
}

}  // namespace

int main() {
  constexpr int64_t n_input = 8, n_hidden = 16, n_classes = 4;
  constexpr int64_t n_examples = 4096, n_updates = 150;
  const ToyBatch data = toy_images(1, n_examples, 1)[0], fresh = toy_images(1, 512, 7)[0];

  Variables vars{Seed{1}};
  BasicLSTMCell cell{vars, "rnn", n_input, n_hidden};
  auto w = vars.add("out/weights", {n_hidden, n_classes}, glorot_uniform());
  auto b = vars.add("out/biases", {n_classes}, zeros());
  auto logits = [&](Value x) {  // [batch, steps, n_input]
    auto steps = unstack(transpose(x, {1, 0, 2}));
    return matmul(static_rnn(cell, steps).outputs.back(), w) + b;
  };

  auto cost = [&](Value x, Value y, Value weight) {  // one loss an example
    return sparse_softmax_cross_entropy_with_logits(logits(x), y) * weight;
  };
  const double expected = 128, rate = expected / n_examples, delta = 1e-5;
  const double noise = noise_multiplier_for(8, delta, rate, n_updates);
  std::random_device system;  // nobody else knows what it gives
  const uint64_t secret = uint64_t{system()} << 32 | system();
  const Seed drawing{uint64_t{system()} << 32 | system()};
  Step train = record(
      cost, vars, chain(), Adam{.learning_rate = 2e-2},
      {.per_example = PerExample{
           .clip_norm = 1, .noise_multiplier = noise, .batch_size = expected, .seed = secret}});
  for (uint64_t i = 0; i < n_updates; ++i) {
    const Sample s = poisson_sample(data, rate, 192, drawing, i);
    const StepInfo info = train(s.x, s.y, s.weight);
    if (info.step % 50 == 0)
      std::printf("step %d: %d examples clipped\n", static_cast<int>(info.step),
                  static_cast<int>(info.clipped_examples));
  }
  const PrivateSteps done{noise, rate, train.step()};
  const double epsilon = privacy_spent(done, delta).epsilon;

  Function predict{logits};
  const Tensor scores = predict(fresh.x);
  int right = 0;
  for (int64_t i = 0; i < fresh.y.size(); ++i) {
    const auto row = scores.flat<float>().subspan(static_cast<size_t>(i * n_classes), n_classes);
    right += std::ranges::max_element(row) - row.begin() ==
             fresh.y.flat<int32_t>()[static_cast<size_t>(i)];
  }
  const double accuracy = right / static_cast<double>(fresh.y.size());
  std::printf("noise multiplier %.3f: epsilon %.2f at delta %g, accuracy %.2f\n", noise, epsilon,
              delta, accuracy);
  return epsilon <= 8 && accuracy > 0.8 ? 0 : 1;
}
