// Adaptive gradient clipping and centralisation; golden cases have Optax's numbers.
#include "rein/process/units.h"

#include <gtest/gtest.h>

#include "process/steps.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

constexpr double kTwoRoundings = 1.2e-7;

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], kTwoRoundings * std::abs(want[i])) << i;
}

// Columns of the parameters have the norms 5, 0 and 13.
const std::vector<double> kParameters{3, 0, 5, 4, 0, 12};

TEST(AdaptiveGradClip, ShortensColumnsToAShareOfTheirParameters) {
  const Gradient g[] = {tensor({2, 3}, {6, 0.5, 5, 8, 0, 0})};  // norms 10, 0.5 and 5
  const Tensor w[] = {tensor({2, 3}, kParameters)};
  const auto clipped = adaptive_grad_clip(g, w, 0.5, {.epsilon = 0.2});
  expect_near(numbers(clipped[0]), {1.5, 0.1, 5, 2, 0, 0});  // limits 2.5, 0.1 and 6.5
  const auto rows = adaptive_grad_clip(g, w, 0.5, {.axis = 1});
  const double first = std::sqrt(6 * 6 + 0.5 * 0.5 + 5 * 5), limit = 0.5 * std::sqrt(34.0);
  expect_near(numbers(rows[0]), {6 * limit / first, 0.5 * limit / first, 5 * limit / first,
                                 8 * 0.5 * std::sqrt(160.0) / 8, 0, 0});
}

TEST(AdaptiveGradClip, TheTransformIsTheFunction) {
  const std::vector<Shape> shapes{{2, 3}, {4}, {3, 2, 2}, {}, {1, 5}};
  for (const std::optional<int> axis : {std::optional<int>{}, std::optional<int>{0}}) {
    const std::vector<Shape> these =
        axis ? std::vector<Shape>{{2, 3}, {4}, {3, 2, 2}, {5, 1}} : shapes;
    Steps steps(AdaptiveGradClip{.clipping = 0.4, .axis = axis}, these, DType::float32);
    std::vector<Gradient> gradients;
    std::vector<Tensor> parameters;
    for (size_t i = 0; i < these.size(); ++i) {
      const auto n = static_cast<size_t>(these[i].size());
      parameters.push_back(tensor(these[i], noise(n, 20 + i)));
      steps.variables().assign(steps.variables()[i], parameters[i]);
      gradients.emplace_back(tensor(these[i], noise(n, i)));
    }
    const auto want = adaptive_grad_clip(gradients, parameters, 0.4, {.axis = axis});
    const auto got = steps.step(gradients);
    Lists before, after;
    for (size_t i = 0; i < these.size(); ++i) {
      EXPECT_EQ(numbers(got[i]), numbers(want[i])) << i;
      before.push_back(numbers(gradients[i]));
      after.push_back(numbers(want[i]));
    }
    EXPECT_TRUE(steps.info.clipped);
    EXPECT_NEAR(steps.info.norm, norm_of(before), 1e-6 * norm_of(before));
    EXPECT_NEAR(steps.info.clipped_norm, norm_of(after), 1e-6 * norm_of(after));
  }
}

TEST(AdaptiveGradClip, SparseRowsMeetTheirOwnParameters) {
  const Tensor w[] = {tensor({3, 2}, {1, 0, 0, 2, 3, 4})};  // rows 1, 2 and 5
  const Gradient g[] = {rows({2, 0, 2}, {3, 2}, {30, 0, 0, 7, 0, 40})};
  const auto by_row = adaptive_grad_clip(g, w, 1, {.axis = 1});
  ASSERT_TRUE(by_row[0].is_sparse());
  expect_near(numbers(Gradient(to_dense(by_row[0].sparse()))), {0, 1, 0, 0, 3, 4});
  const auto by_column = adaptive_grad_clip(g, w, 1);
  const double column = std::sqrt(7 * 7 + 40.0 * 40), limit = std::sqrt(20.0);
  expect_near(numbers(Gradient(to_dense(by_column[0].sparse()))),
              {0, 7 * limit / column, 0, 0, std::sqrt(10.0), 40 * limit / column});
  for (const std::optional<int> axis : {std::optional<int>{}, std::optional<int>{1}}) {
    Steps steps(AdaptiveGradClip{.clipping = 1, .axis = axis}, {{3, 2}}, DType::float32);
    steps.variables().assign(steps.variables()[0], w[0]);
    const auto got = steps.step(std::vector<Gradient>{g[0]});
    EXPECT_EQ(numbers(got[0]), numbers(axis ? by_row[0] : by_column[0]));
  }
}

TEST(AdaptiveGradClip, AUnitThatIsNotFiniteIsLeftAloneAndTheOthersAreNot) {
  const double inf = std::numeric_limits<double>::infinity();
  Steps steps(AdaptiveGradClip{.clipping = 1, .epsilon = 1}, {{2, 2}}, DType::float32);
  const Gradient g[] = {tensor({2, 2}, {inf, 6, 3, 8})};
  const auto got = steps.step(std::vector<Gradient>{g[0]});
  expect_near({numbers(got[0])[1], numbers(got[0])[2], numbers(got[0])[3]}, {0.6, 3, 0.8});
  EXPECT_EQ(numbers(got[0])[0], inf);
  EXPECT_EQ(steps.info.non_finite, "v0");
  const Tensor w[] = {Tensor({2, 2})};
  EXPECT_EQ(numbers(adaptive_grad_clip(g, w, 1, {.epsilon = 1})[0]), numbers(got[0]));
}

TEST(AdaptiveGradClip, ErrorsSayWhatToDo) {
  const Gradient g[] = {tensor({2}, {1, 2})};
  const Tensor w[] = {tensor({3}, {1, 2, 3})};
  EXPECT_NE(error_of([&] { adaptive_grad_clip(g, w, 1); }).find("float32 [3]"), std::string::npos);
  EXPECT_NE(error_of([&] { adaptive_grad_clip(g, {}, 1); }).find("as many parameters"),
            std::string::npos);
  const Gradient deep[] = {Tensor({2, 2, 2, 2, 2, 2})};
  const Tensor same[] = {Tensor({2, 2, 2, 2, 2, 2})};
  EXPECT_NE(error_of([&] { adaptive_grad_clip(deep, same, 1); }).find("give the axis"),
            std::string::npos);
  Steps fine(chain(), {{3}});
  EXPECT_EQ(error_of([&] { (void)AdaptiveGradClip{.axis = 1}.init(fine.variables()); }),
            "AdaptiveGradClip: shape [3] has no axis 1");
  EXPECT_NE(error_of([&] { adaptive_grad_clip(deep, same, -1); }).find("clipping is -1"),
            std::string::npos);
}

TEST(Centralize, TakesTheMeanOfEachOutputAway) {
  const Gradient g = tensor({2, 3}, {1, 2, 3, 5, 2, -3});
  EXPECT_EQ(numbers(centralize(g)), (std::vector<double>{-2, 0, 3, 2, 0, -3}));
  EXPECT_EQ(numbers(centralize(g, 0)),
            (std::vector<double>{-1, 0, 1, 11.0f / 3, 2.0f / 3, -13.0f / 3}));
  const Gradient cube = tensor({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(numbers(centralize(cube)), (std::vector<double>{-3, -3, -1, -1, 1, 1, 3, 3}));
  EXPECT_EQ(numbers(centralize(cube, 1)),
            (std::vector<double>{-2.5, -1.5, -2.5, -1.5, 1.5, 2.5, 1.5, 2.5}));
  for (int axis : {-1, 1}) {
    Steps steps(chain([](Gradients& all, const Variables&, StepInfo&) { all.scale = 2; },
                      Centralize{.axis = axis}),
                {{2, 2, 2}, {3}}, DType::float32);
    const auto got = steps.step(Lists{{0, 1, 2, 3, 4, 5, 6, 7}, {1, 2, 3}});
    EXPECT_EQ(got[0], times({numbers(centralize(cube, axis))}, 2)[0]);
    EXPECT_EQ(got[1], (std::vector<double>{2, 4, 6}));  // vectors stay
  }
  EXPECT_NE(error_of([&] { centralize(g, 2); }).find("no axis 2"), std::string::npos);
}

}  // namespace
}  // namespace rein
