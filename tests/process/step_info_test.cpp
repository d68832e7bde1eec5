// What clips tell of a step where not all numbers are ordinary.
#include "rein/process/step_info.h"

#include <gtest/gtest.h>

#include <limits>

#include "process/steps.h"
#include "rein/process/clip.h"
#include "rein/process/finite.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

bool clipped(const AnyTransform& clip, const std::vector<double>& g) {
  Steps steps(clip, {{2, 2}}, DType::float32);
  steps.step(Lists{g});
  return steps.info.clipped;
}

TEST(Clipped, OfANormThatIsNotFiniteIsWhatBecameOfTheRest) {
  const ClipByNorm rows{.clip_norm = 2, .axes = {1}};
  const AdaptiveGradClip columns{.clipping = 2, .epsilon = 1};
  for (double bad : {kNaN, kInf}) {
    EXPECT_FALSE(clipped(rows, {bad, 0, 0, 1}));
    EXPECT_TRUE(clipped(rows, {bad, 0, 0, 3}));
    EXPECT_FALSE(clipped(columns, {bad, 0, 0, 1}));
    EXPECT_TRUE(clipped(columns, {bad, 0, 0, 3}));
    EXPECT_FALSE(clipped(ClipByNorm{.clip_norm = 2}, {bad, 0, 0, 3}));
    EXPECT_TRUE(clipped(ClipByNorm{.clip_norm = 2, .semantics = Semantics::pytorch},
                        {bad, 0, 0, 3}));  // all of it is NaN
  }
}

TEST(Clipped, AsOtherLibrariesDoIsWhatTheirFormulasChange) {
  const std::vector<double> g{3, 0, 0, 4};
  for (const std::vector<int>& axes : {std::vector<int>{}, std::vector<int>{1}}) {
    const auto by = [&](double limit, Semantics semantics) {
      return ClipByNorm{.clip_norm = limit, .axes = axes, .semantics = semantics};
    };
    EXPECT_FALSE(clipped(by(0, Semantics::keras), g));  // switched off
    EXPECT_TRUE(clipped(by(0, Semantics::tensorflow), g));
    EXPECT_TRUE(clipped(by(-1, Semantics::tensorflow), g));    // counts as 0
    EXPECT_TRUE(clipped(by(kInf, Semantics::tensorflow), g));  // NaN
    for (Semantics semantics :
         {Semantics::tensorflow, Semantics::keras, Semantics::pytorch, Semantics::optax}) {
      EXPECT_TRUE(clipped(by(3.5, semantics), g));
      EXPECT_FALSE(clipped(by(9.7, semantics), noise(4)));  // but rounded
    }
  }
  for (double limit : {-1.0, -0.3, -9.7}) {  // do nothing
    EXPECT_FALSE(
        clipped(ClipByAverageNorm{.clip_norm = limit, .semantics = Semantics::tensorflow}, g));
    EXPECT_FALSE(
        clipped(ClipByGlobalNorm{.clip_norm = limit, .semantics = Semantics::tensorflow}, g));
  }
  EXPECT_TRUE(clipped(ClipByAverageNorm{.clip_norm = 1, .semantics = Semantics::tensorflow}, g));
  EXPECT_TRUE(clipped(ClipByBlockRms{.threshold = 1, .semantics = Semantics::optax}, g));
  EXPECT_FALSE(clipped(ClipByBlockRms{.threshold = 3, .semantics = Semantics::optax}, g));
  const auto optax = [](double clipping) {
    return AdaptiveGradClip{.clipping = clipping, .epsilon = 1, .semantics = Semantics::optax};
  };
  EXPECT_TRUE(clipped(optax(3.5), g));
  EXPECT_FALSE(clipped(optax(4.5), g));
  EXPECT_FALSE(clipped(optax(0), {0, 0, 0, 0}));
}

TEST(ClippedNorm, IsOfWhatCheckFiniteLeaves) {
  for (double bad : {kNaN, kInf}) {
    Steps steps(CheckFinite{.policy = NonFinite::zero}, {{2}, {2}});
    const Lists out = steps.step(Lists{{3, bad}, {4, 12}});
    EXPECT_EQ(out, (Lists{{3, 0}, {4, 12}}));
    EXPECT_FALSE(std::isfinite(steps.info.norm));
    EXPECT_DOUBLE_EQ(steps.info.clipped_norm, 13);
    EXPECT_FALSE(steps.info.finite);
  }
}

// L2 norm 5, of order 1 it is 7, of infinity 4.
TEST(Norms, AreOfOneOrder) {
  const auto expect = [](const AnyTransform& t, double norm, double clipped_norm, double order) {
    Steps steps(t, {{1}, {1}});
    steps.step(Lists{{3}, {4}});
    EXPECT_NEAR(steps.info.norm, norm, 1e-14);
    EXPECT_NEAR(steps.info.clipped_norm, clipped_norm, 1e-14);
    EXPECT_EQ(steps.info.norm_type, order);
  };
  const CheckFinite check{};
  const ClipByGlobalNorm largest{.clip_norm = 1, .norm_type = kInf};
  const ClipByGlobalNorm torch{.clip_norm = 3.5, .norm_type = 1, .semantics = Semantics::pytorch};
  expect(largest, 4, 1, kInf);
  expect(chain(largest, check), 4, 1, kInf);
  expect(chain(check, largest), 5, 1.25, 2);
  expect(chain(check, torch), 5, 5 * 3.5 / (7 + 1e-6), 2);
  expect(chain(check, ClipByGlobalNorm{.clip_norm = 9, .norm_type = kInf}), 5, 5, 2);
  expect(chain(MeasureNorm{}, largest, MeasureNorm{}), 5, 1.25, 2);
  expect(chain(MeasureNorm{.norm_type = 1}, ClipByGlobalNorm{.clip_norm = 1}), 7, 1.4, 1);
  expect(chain(MeasureNorm{.norm_type = 1}, Normalize{.norm = 10}), 7, 14, 1);
  // What is left depends on the order.
  expect(chain(MeasureNorm{.norm_type = 1}, ClipByValue{.min = -3, .max = 3}), 5, std::sqrt(18), 2);
  // The second of two clips by each variable's own norm goes by the first one's result.
  expect(chain(MeasureNorm{.norm_type = 1}, MaxChange{.per_variable = 3, .global = 1}), 5, 1, 2);

  Steps zeroed(chain(largest, CheckFinite{.policy = NonFinite::zero}), {{1}, {1}});
  zeroed.step(Lists{{3}, {kNaN}});
  EXPECT_TRUE(std::isnan(zeroed.info.norm));
  EXPECT_EQ(zeroed.info.clipped_norm, 3);
}

}  // namespace
}  // namespace rein
