// Clip functions in the safe semantics.
#include "rein/process/clip.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "process/numbers.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;
using test::names_place;

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.data(), b.data(), a.spec().bytes()) == 0;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double relative) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], relative * std::abs(want[i])) << "element " << i;
}

// A factor rounded to float, then a product rounded to float.
constexpr double kTwoRoundings = 1.2e-7;

// ---------------------------------------------------------------- by value

TEST(ClipByValue, LimitsEveryElement) {
  const Gradient g = vector({-3, -1, -0.5, 0, 0.25, 2, 7});
  const auto clipped = numbers(clip_by_value(g, -1, 2));
  EXPECT_EQ(clipped, (std::vector<double>{-1, -1, -0.5, 0, 0.25, 2, 2}));
  EXPECT_EQ(numbers(g)[0], -3);  // the argument stays
}

TEST(ClipByValue, NothingChangesWhenNothingIsClipped) {
  const Gradient g = vector({-0.0, 1e-40, 0.3, kNaN});
  EXPECT_TRUE(same_bits(clip_by_value(g, -1, 1).values(), g.values()));
}

TEST(ClipByValue, NaNStaysAndInfinityIsClipped) {
  const auto clipped = numbers(clip_by_value(vector({kNaN, kInf, -kInf}), -1, 1));
  EXPECT_TRUE(std::isnan(clipped[0]));
  EXPECT_EQ(clipped[1], 1);
  EXPECT_EQ(clipped[2], -1);
}

TEST(ClipByValue, OneSided) {
  EXPECT_EQ(numbers(clip_by_value(vector({-5, 5}), -kInf, 1)), (std::vector<double>{-5, 1}));
}

TEST(ClipByValue, TensorsAsBounds) {
  const Gradient g = tensor({2, 3}, {-9, 0, 9, -9, 0.5, 9});
  const auto by_column = clip_by_value(g, vector({-1, -2, -3}), tensor({1, 3}, {1, 2, 3}));
  EXPECT_EQ(numbers(by_column), (std::vector<double>{-1, 0, 3, -1, 0.5, 3}));
  const auto by_row = clip_by_value(g, tensor({2, 1}, {-1, -2}), 4);
  EXPECT_EQ(numbers(by_row), (std::vector<double>{-1, 0, 4, -2, 0.5, 4}));
}

TEST(ClipByValue, BoundsOfASparseGradientBelongToItsRows) {
  // Row 2 occurs twice: its sum (5, -5) is what is clipped, by the bound of row 2.
  const Gradient g = rows({2, 0, 2}, {3, 2}, {2, -2, 8, 1, 3, -3});
  const auto clipped = clip_by_value(g, -4, tensor({3, 1}, {6, 7, 4.5}));
  ASSERT_TRUE(clipped.is_sparse());
  EXPECT_EQ(numbers(Gradient(clipped.sparse().indices.cast(DType::float32))),
            (std::vector<double>{0, 2}));
  EXPECT_EQ(numbers(clipped), (std::vector<double>{6, 1, 4.5, -4}));
}

TEST(ClipByValue, IntegersAndDoubles) {
  const Gradient whole = Tensor::of<int32_t>({3}, {-9, 0, 9});
  EXPECT_EQ(numbers(clip_by_value(whole, -2, 3)), (std::vector<double>{-2, 0, 3}));
  EXPECT_EQ(numbers(clip_by_value(vector({0.3}, DType::float64), 0, 0.1))[0], 0.1);
}

TEST(ClipByValue, Refuses) {
  const Gradient g = tensor({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_NE(error_of([&] { clip_by_value(g, 2, 1); }).find("got 2 and 1"), std::string::npos);
  EXPECT_THROW(clip_by_value(g, kNaN, 1), InvalidArgument);
  EXPECT_THROW(clip_by_value(g, vector({0, 3, 0}), vector({1, 2, 1})), InvalidArgument);
  const std::string larger = error_of([&] { clip_by_value(g, tensor({2, 2, 3}, noise(12)), 1); });
  EXPECT_NE(larger.find("[2, 2, 3]"), std::string::npos) << larger;
  EXPECT_NE(larger.find("[2, 3]"), std::string::npos) << larger;
  EXPECT_THROW(clip_by_value(tensor({1, 3}, {1, 2, 3}), tensor({2, 3}, noise(6)), 9),
               InvalidArgument);
  EXPECT_THROW(clip_by_value(g, vector({0, 0, 0}, DType::float64), 1), InvalidArgument);
  EXPECT_THROW(clip_by_value(Tensor::of<int32_t>({1}, {4}), -1.5, 1), InvalidArgument);
  EXPECT_THROW(clip_by_value(Tensor::of<int32_t>({1}, {4}), 0, 3e9), InvalidArgument);
}

// ---------------------------------------------------------------- by norm

TEST(ClipByNorm, ShortensToTheLimit) {
  expect_near(numbers(clip_by_norm(vector({3, 4}), 1)), {0.6, 0.8}, kTwoRoundings);
  const auto wide = noise(1000);
  const double norm = norm_of(wide);
  std::vector<double> want;
  for (double v : wide) want.push_back(v * 2 / norm);
  expect_near(numbers(clip_by_norm(vector(wide, DType::float64), 2)), want, 1e-14);
}

TEST(ClipByNorm, NothingChangesWhenNothingIsClipped) {
  const Gradient g = vector({3, 4, -0.0, 1e-40});
  for (double c : {5.0, 5.1, 1.7e300, kInf})
    EXPECT_TRUE(same_bits(clip_by_norm(g, c).values(), g.values())) << c;
}

TEST(ClipByNorm, LargeAndTinyNumbers) {
  expect_near(numbers(clip_by_norm(vector({3e20, -4e20}), 1)), {0.6, -0.8}, kTwoRoundings);
  expect_near(numbers(clip_by_norm(vector({3e-25, 4e-25}), 5e-26)), {3e-26, 4e-26}, 2e-7);
  expect_near(numbers(clip_by_norm(vector({3e200, 4e200}, DType::float64), 5)), {3, 4}, 1e-15);
  expect_near(numbers(clip_by_norm(vector({3e-200, 4e-200}, DType::float64), 5e-201)),
              {3e-201, 4e-201}, 1e-15);
  // The factor, 1e-45, is no normal float.
  EXPECT_NEAR(numbers(clip_by_norm(vector({3e38, 1}), 3e-7))[0], 3e-7, 1e-13);
}

TEST(ClipByNorm, ZerosAndAZeroLimit) {
  EXPECT_EQ(numbers(clip_by_norm(vector({0, 0}), 1)), (std::vector<double>{0, 0}));
  EXPECT_EQ(numbers(clip_by_norm(vector({0, 0}), 0)), (std::vector<double>{0, 0}));
  EXPECT_EQ(numbers(clip_by_norm(vector({3, 4}), 0)), (std::vector<double>{0, 0}));
  EXPECT_EQ(clip_by_norm(Tensor({0, 4}), 1).values().size(), 0);
}

TEST(ClipByNorm, WithoutAFiniteNormNothingIsScaled) {
  for (double bad : {kNaN, kInf, -kInf}) {
    const Gradient g = vector({3, bad, 4});
    EXPECT_TRUE(same_bits(clip_by_norm(g, 1).values(), g.values())) << bad;
  }
}

TEST(ClipByNorm, OverAxes) {
  const Gradient g = tensor({2, 2}, {3, 4, 0.3, 0.4});
  expect_near(numbers(clip_by_norm(g, 1, {.axes = {1}})), {0.6, 0.8, 0.3, 0.4}, 1e-7);
  expect_near(numbers(clip_by_norm(g, 1, {.axes = {-2}})),
              {3 / norm_of({3, 0.3}), 4 / norm_of({4, 0.4}), 0.3 / norm_of({3, 0.3}),
               0.4 / norm_of({4, 0.4})},
              1e-7);
  expect_near(numbers(clip_by_norm(g, 1, {.axes = {0, 1}})), numbers(clip_by_norm(g, 1)), 1e-7);
  EXPECT_TRUE(same_bits(clip_by_norm(g, 9, {.axes = {0}}).values(), g.values()));
  const Gradient cube = tensor({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const double a = norm_of({1, 2, 5, 6}), b = norm_of({3, 4, 7, 8});
  expect_near(numbers(clip_by_norm(cube, 1, {.axes = {0, 2}})),
              {1 / a, 2 / a, 3 / b, 4 / b, 5 / a, 6 / a, 7 / b, 8 / b}, 1e-7);
}

TEST(ClipByNorm, OneBadRowIsLeftAloneAndTheOthersAreClipped) {
  const auto out =
      numbers(clip_by_norm(tensor({3, 2}, {3, 4, kNaN, 9, 3e20, 4e20}), 1, {.axes = {1}}));
  expect_near({out[0], out[1], out[4], out[5]}, {0.6, 0.8, 0.6, 0.8}, 1e-7);
  EXPECT_TRUE(std::isnan(out[2]));
  EXPECT_EQ(out[3], 9);
}

TEST(ClipByNorm, RepeatedRowsAreAddedUpBeforeTheNorm) {
  // Row 1 is (3, 4): the norm is 5, not that of the values.
  const Gradient g = rows({1, 1}, {4, 2}, {1, 5, 2, -1});
  const auto clipped = clip_by_norm(g, 1);
  ASSERT_TRUE(clipped.is_sparse());
  expect_near(numbers(Gradient(to_dense(clipped.sparse()))), {0, 0, 0.6, 0.8, 0, 0, 0, 0}, 3e-7);
  EXPECT_TRUE(same_bits(clip_by_norm(g, 5).values(), g.values()));
  const auto by_row = clip_by_norm(g, 1, {.axes = {1}});
  expect_near(numbers(Gradient(to_dense(by_row.sparse()))), {0, 0, 0.6, 0.8, 0, 0, 0, 0}, 3e-7);
}

TEST(ClipByNorm, Refuses) {
  const Gradient g = vector({3, 4});
  const std::string negative = error_of([&] { clip_by_norm(g, -1); });
  EXPECT_NE(negative.find("clip_by_norm: clip_norm is -1"), std::string::npos) << negative;
  EXPECT_TRUE(names_place([&] { clip_by_norm(g, -1); }, __FILE__, __LINE__));
  EXPECT_THROW(clip_by_norm(g, kNaN), InvalidArgument);
  EXPECT_THROW(clip_by_norm(Gradient{}, -1), InvalidArgument);
  EXPECT_THROW(clip_by_norm(Tensor::of<int32_t>({2}, {3, 4}), 1), InvalidArgument);
  EXPECT_THROW(clip_by_norm(g, 1, {.axes = {1}}), InvalidArgument);
  EXPECT_THROW(clip_by_norm(g, 1, {.axes = {-2}}), InvalidArgument);
  EXPECT_THROW(clip_by_norm(rows({5}, {4, 2}, {1, 2}), 1), InvalidArgument);
}

// ---------------------------------------------------------------- by average norm

TEST(ClipByAverageNorm, TheAverageIsTheNormDividedByTheCount) {
  // |(3, 4)| / 2 = 2.5.
  expect_near(numbers(clip_by_average_norm(vector({3, 4}), 1)), {1.2, 1.6}, kTwoRoundings);
  const Gradient g = vector({3, 4});
  EXPECT_TRUE(same_bits(clip_by_average_norm(g, 2.5).values(), g.values()));
  // A sparse gradient counts all elements of the array that it stands for.
  const Gradient sparse = rows({1}, {4, 2}, {3, 4});
  EXPECT_TRUE(same_bits(clip_by_average_norm(sparse, 5.0 / 8).values(), sparse.values()));
  expect_near(numbers(clip_by_average_norm(sparse, 0.125)), {0.6, 0.8}, kTwoRoundings);
  EXPECT_THROW(clip_by_average_norm(g, -1), InvalidArgument);
  EXPECT_THROW(clip_by_average_norm(Tensor::of<int64_t>({2}, {3, 4}), 1), InvalidArgument);
}

// ---------------------------------------------------------------- global

TEST(GlobalNorm, OfAllThatIsThere) {
  const Gradient list[] = {vector({1, 2}), {}, rows({0, 0}, {2, 1}, {1, 1}), tensor({}, {4})};
  EXPECT_DOUBLE_EQ(global_norm(list), 5);
  EXPECT_EQ(global_norm({}), 0);
  const Gradient none[] = {{}, {}};
  EXPECT_EQ(global_norm(none), 0);
}

TEST(GlobalNorm, LargeTinyAndBroken) {
  const Gradient large[] = {vector({3e20}), vector({4e20})};
  EXPECT_NEAR(global_norm(large) / 5e20, 1, 1e-7);
  const Gradient tiny[] = {vector({3e-25}), vector({4e-25})};
  EXPECT_NEAR(global_norm(tiny) / 5e-25, 1, 1e-7);
  const Gradient huge[] = {vector({3e200}, DType::float64), vector({4e200}, DType::float64)};
  EXPECT_NEAR(global_norm(huge) / 5e200, 1, 1e-15);
  const Gradient bad[] = {vector({1}), vector({-kInf})};
  EXPECT_EQ(global_norm(bad), kInf);
  const Gradient worse[] = {vector({kInf}), vector({kNaN})};
  EXPECT_TRUE(std::isnan(global_norm(worse)));
}

TEST(GlobalNorm, IsAccurateOverManyElements) {
  // 0.1f squared, a million times: in float the sum would be off in the third digit.
  Tensor t({1 << 20});
  for (float& v : t.flat<float>()) v = 0.1f;
  const Gradient list[] = {t};
  EXPECT_NEAR(global_norm(list) / (1024 * static_cast<double>(0.1f)), 1, 1e-13);
}

TEST(ClipByGlobalNorm, ScalesAllAlike) {
  const Gradient list[] = {vector({1, 2}), {}, rows({1, 1}, {2, 1}, {1, 1}), tensor({}, {4})};
  const auto [clipped, norm] = clip_by_global_norm(list, 2.5);
  EXPECT_DOUBLE_EQ(norm, 5);
  ASSERT_EQ(clipped.size(), 4u);
  EXPECT_EQ(numbers(clipped[0]), (std::vector<double>{0.5, 1}));
  EXPECT_FALSE(clipped[1]);
  ASSERT_TRUE(clipped[2].is_sparse());
  EXPECT_EQ(numbers(clipped[2]), (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(clipped[3].shape(), Shape{});
  EXPECT_EQ(numbers(clipped[3])[0], 2);
}

TEST(ClipByGlobalNorm, NothingChangesWhenNothingIsClipped) {
  const Gradient list[] = {vector({3, -0.0, 1e-40}), vector({4})};
  for (double c : {5.0, 5.1, kInf}) {
    const auto result = clip_by_global_norm(list, c);
    EXPECT_DOUBLE_EQ(result.norm, 5);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_TRUE(same_bits(result.gradients[i].values(), list[i].values())) << c;
  }
}

TEST(ClipByGlobalNorm, WithoutAFiniteNormNothingIsScaled) {
  const Gradient list[] = {vector({3, 4}), vector({kInf})};
  const auto result = clip_by_global_norm(list, 1);
  EXPECT_EQ(result.norm, kInf);
  EXPECT_TRUE(same_bits(result.gradients[0].values(), list[0].values()));
}

TEST(ClipByGlobalNorm, LargeAndTinyNumbers) {
  for (double size : {1e20, 1e-25}) {
    const Gradient list[] = {vector({3 * size}), vector({4 * size})};
    const auto result = clip_by_global_norm(list, size);
    expect_near({numbers(result.gradients[0])[0], numbers(result.gradients[1])[0]},
                {0.6 * size, 0.8 * size}, 3e-7);
  }
}

TEST(ClipByGlobalNorm, AKnownNorm) {
  const Gradient list[] = {vector({3, 4})};
  const auto result = clip_by_global_norm(list, 1, {.use_norm = 10});
  EXPECT_EQ(result.norm, 10);
  expect_near(numbers(result.gradients[0]), {0.3, 0.4}, kTwoRoundings);
  EXPECT_EQ(numbers(clip_by_global_norm(list, 1, {.use_norm = 0.5}).gradients[0])[0], 3);
  EXPECT_THROW(clip_by_global_norm(list, 1, {.use_norm = -1}), InvalidArgument);
}

TEST(ClipByGlobalNorm, MixedTypesAndRefusals) {
  const Gradient list[] = {vector({3}), vector({4}, DType::float64)};
  const auto result = clip_by_global_norm(list, 2.5);
  EXPECT_EQ(result.gradients[1].values().dtype(), DType::float64);
  EXPECT_DOUBLE_EQ(numbers(result.gradients[1])[0], 2);
  EXPECT_THROW(clip_by_global_norm(list, 1, {.semantics = Semantics::tensorflow}), InvalidArgument);
  EXPECT_THROW(global_norm(list, {.semantics = Semantics::tensorflow}), InvalidArgument);
  EXPECT_THROW(clip_by_global_norm(list, -1), InvalidArgument);
  EXPECT_THROW(clip_by_global_norm(list, kNaN), InvalidArgument);
  const Gradient whole[] = {Tensor::of<int32_t>({1}, {3})};
  EXPECT_THROW(clip_by_global_norm(whole, 1), InvalidArgument);
  EXPECT_TRUE(clip_by_global_norm({}, 1).gradients.empty());
}

TEST(Clips, AbsentStaysAbsent) {
  EXPECT_FALSE(clip_by_value(Gradient{}, -1, 1));
  EXPECT_FALSE(clip_by_norm(Gradient{}, 1));
  EXPECT_FALSE(clip_by_norm(Gradient{}, 1, {.axes = {3}}));
  EXPECT_FALSE(clip_by_average_norm(Gradient{}, 1));
}

}  // namespace
}  // namespace rein
