// Why gradients are clipped. The network of the other examples with a plain recurrent cell, whose
// matrix is 2.5 times as large as one that keeps lengths, and gradient descent. Over 28 steps its
// gradient grows without bound: without clipping the loss is NaN after a few updates, with any of
// the four clips the network trains.
//
// (An LSTM's gates saturate: large weights make it deaf before they make it NaN.)
//
//     example_exploding [PICTURE.svg]    prints a table, draws the norms
#include <rein/rein.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "../toy_images.h"
#include "picture.h"

using namespace rein;

namespace {

constexpr int64_t n_steps = 28, n_input = 8, n_hidden = 32, n_classes = 4;
constexpr size_t kSteps = 300, kWindow = 10;

struct Result {
  std::vector<double> losses, norms;
  int64_t broken_step = 0;  // the first with a gradient that is not finite
  std::string broken_variable;

  // The mean loss of the first or last steps.
  double first() const { return mean(losses.begin()); }
  double last() const { return mean(losses.end() - kWindow); }

 private:
  static double mean(std::vector<double>::const_iterator from) {
    double sum = 0;
    for (size_t i = 0; i < kWindow; ++i) sum += from[static_cast<std::ptrdiff_t>(i)];
    return sum / kWindow;
  }
};

Result train_with(AnyTransform clip, const std::vector<ToyBatch>& batches) {
  Variables vars{Seed{1}};
  auto w_in = vars.add("hidden/weights", {n_input, n_hidden}, random_normal());
  auto b_in = vars.add("hidden/biases", {n_hidden}, random_normal());
  auto w_out = vars.add("out/weights", {n_hidden, n_classes}, glorot_uniform());
  auto b_out = vars.add("out/biases", {n_classes}, zeros());
  BasicRNNCell cell{
      vars, "rnn", n_hidden, n_hidden, {.activation = Activation::relu, .kernel = orthogonal(2.5)}};

  auto cost = [&](Value x, Value y) {
    Value rows = matmul(reshape(transpose(x, {1, 0, 2}), {-1, n_input}), w_in) + b_in;
    auto [outputs, state] = static_rnn(cell, split(rows, n_steps));
    Value logits = matmul(outputs.back(), w_out) + b_out;
    return reduce_mean(sparse_softmax_cross_entropy_with_logits(logits, y));
  };

  // MeasureNorm stands before the clip: the norm of the gradient as it was computed.
  Step train =
      record(cost, vars, chain(MeasureNorm{}, clip), GradientDescent{.learning_rate = 0.02});
  Result result;
  for (size_t s = 0; s < kSteps; ++s) {
    const auto& [x, y] = batches[s % batches.size()];
    const StepInfo info = train(x, y);
    result.losses.push_back(info.loss);
    result.norms.push_back(info.norm);
    if (!info.finite && result.broken_step == 0) {
      result.broken_step = info.step;
      result.broken_variable = info.non_finite;
    }
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  struct Row {
    const char* name;
    AnyTransform clip;
  };
  const Row rows[] = {{"no clipping", chain()},
                      {"by value, 0.1", ClipByValue{.min = -0.1, .max = 0.1}},
                      {"by norm, 1", ClipByNorm{.clip_norm = 1}},
                      {"by average norm, 0.001", ClipByAverageNorm{.clip_norm = 0.001}},
                      {"by global norm, 1", ClipByGlobalNorm{.clip_norm = 1}}};
  const auto batches = toy_images(20, 32, 1, n_steps, n_input);

  std::printf("%-24s %12s %12s %14s  %s\n", "clip", "loss, first", "loss, last", "largest norm",
              "not finite");
  std::vector<Curve> curves;
  bool as_expected = true;
  for (const auto& [name, clip] : rows) {
    const Result r = train_with(clip, batches);
    double largest = 0;
    for (double norm : r.norms)
      if (std::isfinite(norm)) largest = std::max(largest, norm);
    const std::string broken =
        r.broken_step ? "step " + std::to_string(r.broken_step) + ": " + r.broken_variable : "-";
    std::printf("%-24s %12.1f %12s %14.1e  %s\n", name, r.losses[0],
                std::isnan(r.last()) ? "NaN" : std::to_string(r.last()).substr(0, 5).c_str(),
                largest, broken.c_str());
    curves.push_back({name, r.norms, r.broken_step ? "not finite at " + broken : ""});

    const bool clipped = &clip != &rows[0].clip;
    as_expected &= clipped ? r.broken_step == 0 && r.last() < r.first() / 10
                           : std::isnan(r.last()) && 1 < r.broken_step && r.broken_step <= 10 &&
                                 !r.broken_variable.empty();
  }

  const char* path = argc > 1 ? argv[1] : "exploding.svg";
  std::ofstream file(path);
  file << draw("norm of the gradient before clipping", "training step", curves);
  file.close();
  std::printf(file ? "the norms, step by step: %s\n" : "cannot write %s\n", path);
  return file && as_expected ? 0 : 1;
}
