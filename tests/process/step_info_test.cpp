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

}  // namespace
}  // namespace rein
