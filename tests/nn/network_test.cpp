// Cells, layers and losses together: the network of a row-by-row image reader.
#include <cmath>

#include "checks.h"
#include "rein/apply/rules.h"
#include "rein/nn/cell.h"
#include "rein/nn/clip.h"
#include "rein/nn/linear.h"
#include "rein/nn/losses.h"
#include "rein/train/optimizer.h"

namespace rein::test {
namespace {

struct Network {
  static constexpr int64_t batch = 6, steps = 5, input = 4, hidden = 8, classes = 3;

  explicit Network(DType dtype)
      : vars(Seed{1}, dtype),
        in(vars, "hidden", input, hidden),
        cell(vars, "rnn", hidden, hidden),
        out(vars, "out", hidden, classes) {}

  Value logits(Value x) const {  // [batch, steps, input]
    const Value rows = in(reshape(transpose(x, {1, 0, 2}), {-1, input}));
    return out(static_rnn(cell, split(rows, steps)).outputs.back());
  }

  Variables vars;
  Linear in;
  BasicLSTMCell cell;
  Linear out;
};

const Shape kImages{Network::batch, Network::steps, Network::input};
const Tensor kLabels = Tensor::of<int32_t>({Network::batch}, {0, 1, 2, 2, 1, 0});

TEST(Network, GradientsAreDerivatives) {
  Network net(DType::float64);
  expect_gradients(
      [&](std::span<const Value> in) {
        return sparse_softmax_cross_entropy(kLabels, net.logits(in[0]), {.label_smoothing = 0.1});
      },
      {normal(kImages, 1)}, &net.vars);
}

TEST(Network, LearnsAFewExamplesByHeart) {
  Network net(DType::float32);
  const Tensor images = normal(kImages, 1).cast(DType::float32);
  AdamOptimizer optimizer{{.learning_rate = 0.02}};
  auto step = [&] {
    GradientTape tape;
    const Value loss = sparse_softmax_cross_entropy(kLabels, net.logits(tape.input(images)));
    optimizer.minimize(loss, net.vars);
    return loss.item();
  };
  const double first = step();
  EXPECT_NEAR(first, std::log(3.0), 0.5);  // nothing is known yet
  EXPECT_LT(step(), first);
  double last = 0;
  for (int i = 0; i < 200; ++i) last = step();
  EXPECT_LT(last, 0.05);
}

}  // namespace
}  // namespace rein::test
