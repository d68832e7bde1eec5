// Decide once, run many times: the step is recorded, planned, and replayed without allocating.
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

  Step train =
      record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 0.5}), Adam{.learning_rate = 1e-2});
  double first_loss = 0;
  int wrong_norms = 0;
  StepInfo info;
  for (const auto& [x, y] : batches) {
    info = train(x, y);
    if (info.step == 1) first_loss = info.loss;
    if (std::abs(info.clipped_norm - std::min(info.norm, 0.5)) > 1e-6) ++wrong_norms;
    if (info.step % 10 == 1)
      std::printf("step %2d: loss %.3f, norm %.3f%s\n", static_cast<int>(info.step), info.loss,
                  info.norm, info.clipped ? ", clipped" : "");
  }
  std::printf("%zu operations a step in %zu KB of memory\n", train.instruction_count(),
              train.arena_bytes() / 1024);
  return wrong_norms == 0 && info.loss < first_loss / 4 ? 0 : 1;
}
