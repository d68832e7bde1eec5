#include "rein/nn/linear.h"

#include "checks.h"

namespace rein::test {
namespace {

TEST(Linear, IsTheProductAndTheBiases) {
  Variables vars{Seed{1}, DType::float64};
  const Linear layer{vars, "out", 3, 2};
  vars.assign(vars.at("out/weights"), Tensor::of<double>({3, 2}, {1, 2, 3, 4, 5, 6}));
  vars.assign(vars.at("out/biases"), Tensor::of<double>({2}, {0.5, -0.5}));
  GradientTape tape;
  const Tensor x = Tensor::of<double>({2, 3}, {1, 0, 2, -1, 1, 0});
  const Tensor want = Tensor::of<double>({2, 2}, {11.5, 13.5, 2.5, 1.5});
  expect_near(layer(tape.input(x)).tensor(), want, 1e-15);
  expect_near(layer(tape.input(x.reshaped({2, 1, 3}))).tensor(), want.reshaped({2, 1, 2}), 1e-15);
  expect_near(layer(tape.input(x.piece(0, {3}))).tensor(), want.piece(0, {2}), 1e-15);
}

TEST(Linear, CanDoWithoutBiases) {
  Variables vars{Seed{1}, DType::float64};
  const Linear layer{vars, "out", 3, 2, {.use_bias = false, .weights = ones()}};
  EXPECT_EQ(vars.size(), 1u);
  GradientTape tape;
  expect_near(layer(tape.input(Tensor::of<double>({1, 3}, {1, 2, 4}))).tensor(),
              Tensor::of<double>({1, 2}, {7, 7}), 0);
}

TEST(Linear, GradientsAreDerivatives) {
  Variables vars{Seed{1}, DType::float64};
  const Linear layer{vars, "out", 3, 2, {.biases = random_normal()}};
  expect_gradients([&](std::span<const Value> in) { return reduce_sum(square(layer(in[0]))); },
                   {normal({2, 2, 3}, 1)}, &vars);
}

TEST(Linear, AWrongWidthNamesTheLayer) {
  Variables vars;
  const Linear layer{vars, "out", 3, 2};
  GradientTape tape;
  expect_error(
      [&] {
        layer(tape.input(Tensor({5, 4})));
      },
      {"Linear", "out/weights", "[5, 4]", "[3, 2]", "linear_test.cpp"});
  expect_error([&] { layer(tape.input(Tensor(Shape{}))); }, {"Linear", "[]"});
}

}  // namespace
}  // namespace rein::test
