// Gradients in your hands: compute them, clip every element, apply them.
#include <rein/rein.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "toy_images.h"

using namespace rein;

namespace {

double largest_element(const GradsAndVars& grads_and_vars) {
  double largest = 0;
  for (const auto& [grad, var] : grads_and_vars)
    for (float g : grad.dense().flat<float>()) largest = std::max(largest, std::abs(double{g}));
  return largest;
}

}  // namespace

int main() {
  constexpr int64_t n_steps = 8, n_input = 8, n_hidden = 32, n_classes = 4;
  const auto batches = toy_images(60, 32, 1);

  // The network: an LSTM unrolled over the rows of an image.
  Variables vars{Seed{1}};
  auto w_in = vars.add("hidden/weights", {n_input, n_hidden}, random_normal());
  auto b_in = vars.add("hidden/biases", {n_hidden}, random_normal());
  auto w_out = vars.add("out/weights", {n_hidden, n_classes}, random_normal());
  auto b_out = vars.add("out/biases", {n_classes}, random_normal());
  BasicLSTMCell cell{vars, "rnn", n_hidden, n_hidden, {.forget_bias = 1.0}};

  auto cost = [&](Value x, Value y) {  // x [batch, n_steps, n_input], y [batch]
    Value rows = matmul(reshape(transpose(x, {1, 0, 2}), {-1, n_input}), w_in) + b_in;
    auto steps = split(rows, n_steps, {.axis = 0});  // a list of n_steps values [batch, n_hidden]
    auto [outputs, state] = static_rnn(cell, steps);
    Value logits = matmul(outputs.back(), w_out) + b_out;
    return reduce_mean(sparse_softmax_cross_entropy_with_logits(logits, y));
  };

  AdamOptimizer optimizer{{.learning_rate = 1e-2}};
  double first_loss = 0, last_loss = 0, largest_before = 0, largest_after = 0;
  for (const auto& [x, y] : batches) {
    GradientTape tape;
    Value loss = cost(tape.input(x), tape.input(y));
    auto gvs = optimizer.compute_gradients(loss, vars);  // a list of {Gradient grad; Variable var;}
    largest_before = std::max(largest_before, largest_element(gvs));
    for (auto& [grad, var] : gvs) grad = clip_by_value(grad, -0.1, 0.1);  // or a function of yours
    largest_after = std::max(largest_after, largest_element(gvs));
    optimizer.apply_gradients(gvs);

    last_loss = loss.item();
    if (first_loss == 0) first_loss = last_loss;
  }
  std::printf(
      "%zu steps: loss %.3f -> %.3f; largest element of a gradient %.3f, after clipping %.3f\n",
      batches.size(), first_loss, last_loss, largest_before, largest_after);
  const bool clipped = largest_before > 0.1 && largest_after == double{0.1f};
  return clipped && last_loss < first_loss / 4 ? 0 : 1;
}
