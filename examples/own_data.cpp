// Numbers of your own, weight decay in the cost, and a training that is saved and goes on: an LSTM
// learns to foretell a noisy wave.
#include <rein/io/state_file.h>
#include <rein/rein.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <vector>

using namespace rein;

namespace {

constexpr int64_t n_steps = 24, n_batch = 32, n_hidden = 16;

// Batch `b`: windows of the wave, and the number after each.
std::vector<Tensor> batch_of(uint64_t b) {
  const RandomStream random(Seed{5}, b);
  std::vector<float> windows, next;
  for (uint64_t i = 0; i < n_batch; ++i) {
    const double begin = 100 * random.uniform(i);
    for (int64_t t = 0; t < n_steps; ++t)
      windows.push_back(static_cast<float>(std::sin(0.4 * static_cast<double>(t) + begin)));
    next.push_back(static_cast<float>(std::sin(0.4 * static_cast<double>(n_steps) + begin)));
  }
  Tensor x = Tensor::copy_of<float>({n_batch, n_steps, 1}, windows);  // a std::vector<float>
  Tensor y = Tensor::copy_of<float>({n_batch, 1}, next);
  return {x, y};
}

struct Model {
  Variables vars{Seed{1}};
  BasicLSTMCell cell{vars, "lstm", 1, n_hidden};
  Linear out{vars, "out", n_hidden, 1};

  Value predict(Value x) const {  // x [batch, n_steps, 1]
    return out(static_rnn(cell, unstack(x, {.axis = 1})).outputs.back());
  }
  Step make_step() {
    auto cost = [this](Value x, Value y) {
      Value decay = l2_loss(x.graph().parameter(vars.at("lstm/kernel")));
      return mean_squared_error(y, predict(x)) + 1e-5 * decay;
    };
    return record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 1}), Adam{.learning_rate = 1e-2});
  }
};

bool same_weights(Variables& a, Variables& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::ranges::equal(a.values<float>(i), b.values<float>(i))) return false;
  return true;
}

}  // namespace

int main() {
  const auto file = std::filesystem::temp_directory_path() / "rein_own_data.safetensors";

  Model model;
  Step train = model.make_step();
  for (uint64_t b = 0; b < 100; ++b) train.run(batch_of(b));
  save_state(file, train.state());  // weights, Adam's moments, counts, and the settings
  for (uint64_t b = 100; b < 200; ++b) train.run(batch_of(b));

  // In another process: the same model and the same settings, or it says what differs.
  Model other;
  Step again = other.make_step();
  again.load_state(load_state(file));
  for (uint64_t b = 100; b < 200; ++b) again.run(batch_of(b));
  std::filesystem::remove(file);

  Function predict{[&](Value x) { return other.predict(x); }};
  const std::vector<Tensor> unseen = batch_of(1000);
  const Tensor foretold = predict(unseen[0]);
  double error = 0;
  for (size_t i = 0; i < n_batch; ++i)
    error = std::max(
        error, std::abs(double{foretold.flat<float>()[i]} - double{unseen[1].flat<float>()[i]}));
  const bool same = same_weights(model.vars, other.vars);
  std::printf("%s after 200 steps; of unseen windows the largest error is %.3f\n",
              same ? "the same weights" : "other weights", error);
  return same && error < 0.2 ? 0 : 1;
}
