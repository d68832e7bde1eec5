#include "rein/nn/clip.h"

#include <cmath>
#include <limits>

#include "checks.h"

namespace rein::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

Tensor vec(std::initializer_list<double> x) {
  return Tensor::of<double>({static_cast<int64_t>(x.size())}, x);
}

TEST(ClipByNorm, ScalesWhatIsLonger) {
  GradientTape tape;
  const Value x = tape.input(vec({3, 4}));  // of length 5
  expect_near(clip_by_norm(x, 1).tensor(), vec({0.6, 0.8}), 1e-15);
  expect_near(clip_by_norm(x, 10).tensor(), vec({3, 4}), 0);
  expect_near(clip_by_norm(x, 0).tensor(), vec({0, 0}), 0);
  expect_near(clip_by_norm(x, kInf).tensor(), vec({3, 4}), 0);
}

TEST(ClipByNorm, TakesANormForEachSlice) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({2, 2}, {3, 4, 6, 0}));
  expect_near(clip_by_norm(x, 1, {1}).tensor(), Tensor::of<double>({2, 2}, {0.6, 0.8, 1, 0}),
              1e-15);
  const double column = std::sqrt(45.0);
  expect_near(clip_by_norm(x, 1, {0}).tensor(),
              Tensor::of<double>({2, 2}, {3 / column, 1, 6 / column, 0}), 1e-15);
}

TEST(ClipByNorm, OfZerosIsZerosWithTheDerivativeOne) {
  GradientTape tape;
  const Value x = tape.input(vec({0, 0})), y = clip_by_norm(x, 2);
  expect_near(y.tensor(), vec({0, 0}), 0);
  expect_near(gradients(reduce_sum(y), Values{x})[0].tensor(), vec({1, 1}), 0);
  expect_near(gradients(reduce_sum(clip_by_average_norm(x, 2)), Values{x})[0].tensor(), vec({1, 1}),
              0);
  const auto [clipped, norm] = clip_by_global_norm(Values{x}, 2);
  expect_near(gradients(reduce_sum(clipped[0]), Values{x})[0].tensor(), vec({1, 1}), 0);
  expect_near(gradients(norm, Values{x})[0].tensor(), vec({0, 0}), 0);
}

TEST(ClipByAverageNorm, DividesTheNormByTheNumber) {
  GradientTape tape;
  const Value x = tape.input(vec({3, 4}));  // 5 / 2
  expect_near(clip_by_average_norm(x, 1).tensor(), vec({1.2, 1.6}), 1e-15);
  expect_near(clip_by_average_norm(x, 2.5).tensor(), vec({3, 4}), 1e-15);
  expect_near(clip_by_average_norm(x, kInf).tensor(), vec({3, 4}), 0);
}

TEST(ClipByGlobalNorm, ScalesAllAlike) {
  GradientTape tape;
  const Values xs{tape.input(vec({3, 4})), tape.input(vec({12}))};  // 13
  EXPECT_NEAR(global_norm(xs).item(), 13, 1e-14);
  const auto [clipped, norm] = clip_by_global_norm(xs, 6.5);
  EXPECT_NEAR(norm.item(), 13, 1e-14);
  expect_near(clipped[0].tensor(), vec({1.5, 2}), 1e-15);
  expect_near(clipped[1].tensor(), vec({6}), 1e-15);
  expect_near(clip_by_global_norm(xs, 20).values[0].tensor(), vec({3, 4}), 0);
  expect_near(clip_by_global_norm(xs, kInf).values[0].tensor(), vec({3, 4}), 0);
  EXPECT_NEAR(clip_by_global_norm(xs, kInf).norm.item(), 13, 1e-14);

  const Value known = tape.input(Tensor::scalar(65.0));
  const auto shared = clip_by_global_norm(xs, 6.5, known);
  expect_near(shared.values[1].tensor(), vec({1.2}), 1e-15);
  EXPECT_EQ(shared.norm.item(), 65);
}

TEST(ClipByGlobalNorm, AnInfiniteNormMakesEverythingNaN) {
  GradientTape tape;
  const Values xs{tape.input(vec({1, 2})), tape.input(vec({kInf}))};
  const auto [clipped, norm] = clip_by_global_norm(xs, 1);
  EXPECT_EQ(norm.item(), kInf);
  for (double x : clipped[0].tensor().flat<double>()) EXPECT_TRUE(std::isnan(x));
}

// Above and below the threshold: of length about 3.
TEST(Clips, GradientsAreDerivatives) {
  const std::vector<Tensor> inputs{normal({3, 2}, 1), normal({4}, 2)};
  const Tensor a = normal({3, 2}, 3), b = normal({4}, 4);
  for (double c : {0.5, 1e3}) {
    expect_gradients([&](auto in) { return reduce_sum(mul(clip_by_norm(in[0], c), a)); },
                     {inputs[0]});
    expect_gradients([&](auto in) { return reduce_sum(mul(clip_by_norm(in[0], c, {1}), a)); },
                     {inputs[0]});
    expect_gradients(
        [&](auto in) { return reduce_sum(mul(clip_by_average_norm(in[0], c / 6), a)); },
        {inputs[0]});
    expect_gradients([&](auto in) { return global_norm(in); }, inputs);
    expect_gradients(
        [&](auto in) {
          const auto [clipped, norm] = clip_by_global_norm(in, c);
          return reduce_sum(mul(clipped[0], a)) + reduce_sum(mul(clipped[1], b)) + square(norm);
        },
        inputs);
  }
}

TEST(Clips, GradientsCanBeDifferentiatedAgain) {
  const Tensor a = normal({3, 2}, 3), v = normal({3, 2}, 4);
  expect_gradients(
      [&](auto in) {
        const Value y = reduce_sum(mul(clip_by_norm(in[0], 0.5), a));
        return reduce_sum(mul(gradients(y, Values{in[0]})[0], v));
      },
      {normal({3, 2}, 1)});
}

TEST(Clips, ThresholdsThatMakeNoSenseThrow) {
  GradientTape tape;
  const Value x = tape.input(vec({1, 2}));
  for (double c : {-1.0, kNaN}) {
    expect_error([&] { clip_by_norm(x, c); }, {"clip_by_norm", "clip_norm", "clip_test.cpp"});
    expect_error([&] { clip_by_average_norm(x, c); }, {"clip_by_average_norm", "clip_norm"});
    expect_error([&] { clip_by_global_norm(Values{x}, c); }, {"clip_by_global_norm", "clip_norm"});
  }
  expect_error([] { global_norm(Values{}); }, {"global_norm", "no values"});
}

}  // namespace
}  // namespace rein::test
