// The whole gradient, clipped by its global norm: its direction stays.
#include <rein/rein.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "toy_images.h"

using namespace rein;

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
  double first_loss = 0, last_loss = 0;
  int clipped_steps = 0, wrong_norms = 0;
  for (const auto& [x, y] : batches) {
    GradientTape tape;
    Value loss = cost(tape.input(x), tape.input(y));
    auto gradients = tape.gradient(loss, vars);
    auto [clipped, norm] = clip_by_global_norm(gradients, 0.5);  // norm: before clipping
    optimizer.apply_gradients(zip(clipped, vars));

    if (norm > 0.5) ++clipped_steps;
    if (std::abs(global_norm(clipped) - std::min(norm, 0.5)) > 1e-6) ++wrong_norms;
    last_loss = loss.item();
    if (first_loss == 0) first_loss = last_loss;
  }
  std::printf("%zu steps: loss %.3f -> %.3f; %d of them clipped\n", batches.size(), first_loss,
              last_loss, clipped_steps);
  return clipped_steps > 0 && wrong_norms == 0 && last_loss < first_loss / 4 ? 0 : 1;
}
