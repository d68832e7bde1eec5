#include "rein/nn/initializers.h"

#include <algorithm>
#include <cmath>

#include "checks.h"

namespace rein::test {
namespace {

std::vector<double> draw(const Initializer& init, const Shape& shape, Seed seed = Seed{1},
                         std::string_view name = "w") {
  std::vector<double> x(static_cast<size_t>(shape.size()));
  init(shape, RandomStream(seed, stream_of(name)), x);
  return x;
}

struct Moments {
  double mean = 0, stddev = 0, largest = 0;
};
Moments moments(const std::vector<double>& x) {
  Moments m;
  const double n = static_cast<double>(x.size());
  for (double v : x) m.mean += v / n;
  for (double v : x) m.stddev += (v - m.mean) * (v - m.mean) / n;
  m.stddev = std::sqrt(m.stddev);
  for (double v : x) m.largest = std::max(m.largest, std::abs(v));
  return m;
}

// Of 60,000 numbers the mean is off by 1 / sqrt(60000) = 0.4 % of the standard deviation, and the
// standard deviation by at most 0.3 %: five times that is allowed.
constexpr double kMean = 0.02, kStddev = 0.015;
const Shape kMatrix{200, 300};

TEST(Initializers, ConstantsAreConstant) {
  EXPECT_EQ(draw(zeros(), {3}), std::vector<double>(3, 0.0));
  EXPECT_EQ(draw(ones(), {3}), std::vector<double>(3, 1.0));
  EXPECT_EQ(draw(constant(-2.5), {3}), std::vector<double>(3, -2.5));
}

TEST(Initializers, NormalHasItsMoments) {
  const auto m = moments(draw(random_normal(3, 0.5), kMatrix));
  EXPECT_NEAR(m.mean, 3, kMean * 0.5);
  EXPECT_NEAR(m.stddev, 0.5, kStddev * 0.5);
}

TEST(Initializers, UniformHasItsMomentsAndBounds) {
  const auto x = draw(random_uniform(-1, 3), kMatrix);
  const auto m = moments(x);
  const double stddev = 4 / std::sqrt(12.0);
  EXPECT_NEAR(m.mean, 1, kMean * stddev);
  EXPECT_NEAR(m.stddev, stddev, kStddev * stddev);
  for (double v : x) EXPECT_TRUE(v >= -1 && v < 3) << v;
}

TEST(Initializers, TruncatedNormalStopsAtTwoStandardDeviations) {
  const auto x = draw(truncated_normal(1, 0.1), kMatrix);
  const auto m = moments(x);
  EXPECT_NEAR(m.mean, 1, kMean * 0.1);
  // The standard deviation of a normal number given |x| <= 2: 1 - 4 phi(2) / (2 Phi(2) - 1),
  // rooted.
  const double phi = std::exp(-2.0) / std::sqrt(2 * std::acos(-1.0));
  const double left = std::sqrt(1 - 4 * phi / std::erf(std::sqrt(2.0)));
  EXPECT_NEAR(m.stddev, 0.1 * left, kStddev * 0.1);
  double largest = 0;
  for (double v : x) largest = std::max(largest, std::abs(v - 1));
  EXPECT_LE(largest, 0.2 + 1e-12);
  EXPECT_GT(largest, 0.195);  // and not before
  auto sorted = x;
  std::ranges::sort(sorted);  // a number drawn again is not that of another element
  EXPECT_EQ(std::ranges::adjacent_find(sorted), sorted.end());
}

struct FanRow {
  const char* name;
  Initializer init;
  double variance;    // times
  bool both;          // 1 / (fan_in + fan_out), or 1 / fan_in
  double bound_over;  // the largest number allowed over the standard deviation
};

TEST(Initializers, FansDecideTheVariance) {
  const double uniform = std::sqrt(3.0), truncated = 2 / 0.8796;
  const FanRow rows[] = {{"glorot_uniform", glorot_uniform(), 2, true, uniform},
                         {"glorot_normal", glorot_normal(), 2, true, truncated},
                         {"he_uniform", he_uniform(), 2, false, uniform},
                         {"he_normal", he_normal(), 2, false, truncated}};
  struct {
    Shape shape;
    double in, out;
  } const fans[] = {{{200, 300}, 200, 300}, {{4, 5, 30, 100}, 600, 2000}, {{60000}, 60000, 60000}};
  for (const FanRow& row : rows)
    for (const auto& fan : fans) {
      const auto m = moments(draw(row.init, fan.shape));
      const double stddev = std::sqrt(row.variance / (row.both ? fan.in + fan.out : fan.in));
      EXPECT_NEAR(m.mean, 0, kMean * stddev) << row.name;
      EXPECT_NEAR(m.stddev, stddev, kStddev * stddev) << row.name << to_string(fan.shape);
      EXPECT_LE(m.largest, row.bound_over * stddev * 1.0001) << row.name;
      EXPECT_GT(m.largest, row.bound_over * stddev * 0.97) << row.name;
    }
}

// The product of a [rows, columns] matrix with its transpose, the smaller one of the two.
void expect_orthogonal(const Shape& shape, double gain) {
  const auto a = draw(orthogonal(gain), shape);
  const size_t columns = static_cast<size_t>(shape.back()), rows = a.size() / columns;
  const bool wide = rows < columns;
  const size_t n = wide ? rows : columns, length = wide ? columns : rows;
  for (size_t i = 0; i < n; ++i)
    for (size_t k = 0; k <= i; ++k) {
      double dot = 0;
      for (size_t j = 0; j < length; ++j)
        dot += wide ? a[i * columns + j] * a[k * columns + j]
                    : a[j * columns + i] * a[j * columns + k];
      EXPECT_NEAR(dot, i == k ? gain * gain : 0, 1e-12) << to_string(shape) << i << "," << k;
    }
}

TEST(Initializers, OrthogonalIsOrthogonal) {
  expect_orthogonal({20, 20}, 1);
  expect_orthogonal({7, 20}, 1.5);
  expect_orthogonal({20, 7}, -0.5);
  expect_orthogonal({2, 3, 10}, 1);
  expect_orthogonal({1, 1}, 1);
}

TEST(Initializers, OrthogonalTakesAllDirectionsAlike) {
  // With signs made unique the matrix is drawn evenly from all orthogonal ones, and its first
  // element is as often negative as positive: 400 draws of +-1 have a standard deviation of 20.
  int positive = 0;
  for (uint64_t seed = 0; seed < 400; ++seed)
    positive += draw(orthogonal(), {3, 3}, Seed{seed})[0] > 0;
  EXPECT_NEAR(positive, 200, 50);
}

TEST(Initializers, NumbersDependOnSeedAndNameAlone) {
  for (const auto& init : {random_normal(), random_uniform(0, 1), truncated_normal(),
                           glorot_uniform(), he_normal(), orthogonal()}) {
    Variables alone(Seed{3}), late(Seed{3}), other_seed(Seed{4});
    alone.add("w", {4, 5}, init);
    late.add("something", {7, 9}, random_normal());
    late.add("w", {4, 5}, init);
    late.add("v", {4, 5}, init);
    other_seed.add("w", {4, 5}, init);
    auto numbers = [](Variables& vars, const char* name) {
      const Tensor t = vars.at(name).read();
      return std::vector<float>(t.flat<float>().begin(), t.flat<float>().end());
    };
    EXPECT_EQ(numbers(alone, "w"), numbers(late, "w"));
    EXPECT_NE(numbers(alone, "w"), numbers(late, "v"));
    EXPECT_NE(numbers(alone, "w"), numbers(other_seed, "w"));
  }
}

TEST(Initializers, SettingsThatMakeNoSenseThrow) {
  expect_error([] { random_normal(0, -1); }, {"random_normal", "stddev is -1"});
  expect_error([] { truncated_normal(0, std::nan("")); }, {"truncated_normal", "stddev"});
  expect_error([] { random_uniform(2, 1); }, {"random_uniform", "2", "1"});
  Variables vars;
  expect_error([&] { vars.add("w", {5}, orthogonal()); }, {"orthogonal", "two axes", "[5]"});
  EXPECT_EQ(vars.size(), 0u);
}

}  // namespace
}  // namespace rein::test
