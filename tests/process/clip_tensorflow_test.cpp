// Semantics::tensorflow where it differs from good sense. The expectations are IEEE arithmetic on
// TensorFlow's formulas (python/ops/clip_ops.py); more of them, taken from TensorFlow itself, are
// in the golden tests.
#include <gtest/gtest.h>

#include <limits>

#include "process/numbers.h"
#include "rein/process/clip.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");
constexpr Semantics kTensorFlow = Semantics::tensorflow;

std::vector<double> by_norm(const std::vector<double>& g, double c, DType dtype = DType::float32) {
  return numbers(clip_by_norm(vector(g, dtype), c, {.semantics = kTensorFlow}));
}
std::vector<double> by_average(const std::vector<double>& g, double c) {
  return numbers(clip_by_average_norm(vector(g), c, kTensorFlow));
}
std::vector<double> by_global(const std::vector<double>& g, double c) {
  const Gradient list[] = {vector(g)};
  return numbers(clip_by_global_norm(list, c, {.semantics = kTensorFlow}).gradients[0]);
}

TEST(TensorFlowClipByValue, LowerBoundWinsAndNaNBoundsSpread) {
  EXPECT_EQ(numbers(clip_by_value(vector({-1, 5}), 2, 1, kTensorFlow)),
            (std::vector<double>{2, 2}));
  EXPECT_TRUE(std::isnan(numbers(clip_by_value(vector({0}), kNaN, 1, kTensorFlow))[0]));
  EXPECT_TRUE(std::isnan(numbers(clip_by_value(vector({0}), 0, kNaN, kTensorFlow))[0]));
}

TEST(TensorFlowClipByValue, TakesSparseValuesAsTheyAre) {
  const auto clipped = clip_by_value(rows({1, 1}, {3, 1}, {0.8, 0.9}), -1, 1, kTensorFlow);
  EXPECT_EQ(clipped.values().size(), 2);
  EXPECT_THROW(clip_by_value(Gradient{}, -1, 1, kTensorFlow), InvalidArgument);
}

TEST(TensorFlowClipByNorm, EdgeCases) {
  EXPECT_EQ(by_norm({3, 4}, 0), (std::vector<double>{0, 0}));
  EXPECT_EQ(by_norm({3, 4}, -1), (std::vector<double>{0, 0}));  // counts as 0
  EXPECT_TRUE(std::isnan(by_norm({0, 0}, 0)[0]));
  EXPECT_TRUE(std::isnan(by_norm({3, 4}, kInf)[0]));
  EXPECT_TRUE(std::isnan(by_norm({3, kNaN}, 1)[0]));
  const auto broken = by_norm({3, kInf}, 1);
  EXPECT_EQ(broken[0], 0);  // 3 / inf
  EXPECT_TRUE(std::isnan(broken[1]));
  EXPECT_EQ(by_norm({3e20, 4e20}, 1), (std::vector<double>{0, 0}));  // the norm overflows
  EXPECT_EQ(by_norm({1e-25}, 1e-26)[0], 0);                          // the product underflows
  EXPECT_EQ(by_norm({3e20, 4e20}, 5, DType::float64), (std::vector<double>{3, 4}));
}

TEST(TensorFlowClipByNorm, RoundsEvenWhatIsNotClipped) {
  const float x = 0.3f, c = 1.7f;
  EXPECT_EQ(by_norm({0.3}, 1.7)[0], static_cast<double>(x * c / c));
  int changed = 0;
  for (double v : noise(200))
    changed += by_norm({v}, 9.7)[0] != static_cast<double>(static_cast<float>(v));
  EXPECT_GT(changed, 0);
}

TEST(TensorFlowClipByNorm, DoesNotAddUpRepeatedRows) {
  const auto clipped = clip_by_norm(rows({1, 1}, {3, 1}, {3, 4}), 1, {.semantics = kTensorFlow});
  EXPECT_FLOAT_EQ(static_cast<float>(numbers(clipped)[0]), 0.6f);  // the norm is 5, not 7
}

TEST(TensorFlowClipByAverageNorm, EdgeCases) {
  const auto clipped = by_average({3, 4}, 1);
  EXPECT_NEAR(clipped[0], 1.2, 3e-7);
  EXPECT_NEAR(clipped[1], 1.6, 3e-7);
  EXPECT_EQ(by_average({3, 4}, 0), (std::vector<double>{0, 0}));
  EXPECT_TRUE(std::isnan(by_average({0, 0}, 0)[0]));
  EXPECT_NEAR(by_average({3, 4}, -1)[0], 3, 3e-7);  // a negative limit does nothing
  EXPECT_TRUE(std::isnan(by_average({3, 4}, kInf)[0]));
}

TEST(TensorFlowClipByGlobalNorm, EdgeCases) {
  EXPECT_EQ(by_global({3, 4}, 0), (std::vector<double>{0, 0}));
  EXPECT_TRUE(std::isnan(by_global({0, 0}, 0)[0]));
  EXPECT_EQ(by_global({0, 0}, 1), (std::vector<double>{0, 0}));
  EXPECT_EQ(by_global({3, 4}, -1), (std::vector<double>{3, 4}));  // does nothing
  EXPECT_TRUE(std::isnan(by_global({3, 4}, kInf)[0]));
  EXPECT_TRUE(std::isnan(by_global({3, kInf}, 1)[0]));     // everything becomes NaN
  EXPECT_TRUE(std::isnan(by_global({3e20, 4e20}, 1)[0]));  // of an overflow too
  const float c = 1.7f;
  EXPECT_EQ(by_global({0.25}, 1.7)[0], static_cast<double>(0.25f * (c * (1 / c))));
  EXPECT_NE(by_global({0.25}, 1.7)[0], 0.25);
}

TEST(TensorFlowGlobalNorm, TakesSparseValuesAsTheyAre) {
  const Gradient list[] = {rows({1, 1}, {3, 1}, {3, 4})};
  EXPECT_EQ(global_norm(list, {.semantics = kTensorFlow}), 5);
  EXPECT_EQ(global_norm(list), 7);
}

}  // namespace
}  // namespace rein
