// A decorator around any optimizer, then minimize.
#include <rein/rein.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "toy_images.h"

using namespace rein;

namespace {

// How far all parameters together are from where they were.
double distance(const std::vector<Tensor>& before, Variables& vars) {
  double sum = 0;
  for (size_t v = 0; v < vars.size(); ++v) {
    const auto was = before[v].flat<float>(), is = vars.values<float>(v);
    for (size_t i = 0; i < is.size(); ++i) sum += std::pow(double{is[i]} - double{was[i]}, 2);
  }
  return std::sqrt(sum);
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

  auto opt = clip_gradients_by_norm(AdamOptimizer{{.learning_rate = 1e-2}}, 0.5);
  double first_loss = 0, last_loss = 0;
  for (const auto& [x, y] : batches) {
    GradientTape tape;
    Value loss = cost(tape.input(x), tape.input(y));
    opt.minimize(loss, vars);

    last_loss = loss.item();
    if (first_loss == 0) first_loss = last_loss;
  }
  std::printf("%s, %zu steps: loss %.3f -> %.3f\n", opt.name().c_str(), batches.size(), first_loss,
              last_loss);

  // What the decorator does, seen where no rule rescales it: one step of gradient descent at a rate
  // of 1 takes the parameters exactly as far as the clipped gradient is long.
  auto plain = clip_gradients_by_norm(GradientDescentOptimizer{{.learning_rate = 1.0}}, 1e-3);
  std::vector<Tensor> before;
  for (size_t i = 0; i < vars.size(); ++i) before.push_back(vars[i].read());
  GradientTape tape;
  plain.minimize(cost(tape.input(batches[0].x), tape.input(batches[0].y)), vars);
  const double moved = distance(before, vars);
  std::printf("%s, clipped to 0.001, moved the parameters by %.6f\n", plain.name().c_str(), moved);
  return last_loss < first_loss / 4 && std::abs(moved - 1e-3) < 1e-6 ? 0 : 1;
}
