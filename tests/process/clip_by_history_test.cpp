// Clips that remember, in float64 against plain twins written from the papers' formulas.
#include "rein/process/clip_by_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "process/steps.h"
#include "rein/process/clip.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

// Sums of a few squares in another order, and statistics of them.
constexpr double kRounding = 1e-12;

void expect_near(const Lists& got, const Lists& want, double tolerance = kRounding) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].size(), want[i].size()) << i;
    for (size_t j = 0; j < got[i].size(); ++j)
      ASSERT_NEAR(got[i][j], want[i][j], tolerance * std::abs(want[i][j])) << i << ", " << j;
  }
}

// 200 steps of two variables against a twin: from the gradients of a step to those after the clip.
// `clipped` steps at least must differ from their input.
void expect_like(const AnyTransform& transform, const std::function<Lists(const Lists&)>& twin,
                 int clipped) {
  Steps steps(transform, {{7}, {2, 3}});
  int changed = 0;
  for (uint64_t t = 0; t < 200; ++t) {
    const Lists in{wild(7, 2 * t), wild(6, 2 * t + 1)};
    const Lists want = twin(in), got = steps.step(in);
    expect_near(got, want);
    changed += want != in;
    EXPECT_EQ(steps.info.clipped, want != in) << t;
    EXPECT_NEAR(steps.info.norm, norm_of(in), kRounding * norm_of(in));
    EXPECT_NEAR(steps.info.clipped_norm, norm_of(want), kRounding * norm_of(want));
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "step " << t;
      return;
    }
  }
  EXPECT_GE(changed, clipped);
  EXPECT_LT(changed, 200);
}

// ---------------------------------------------------------------- AutoClip

TEST(AutoClip, ShortensToThePercentileOfRecentNorms) {
  for (const double percentile : {10.0, 50.0, 83.5}) {
    std::vector<double> history;
    expect_like(
        AutoClip{.percentile = percentile, .window = 20},
        [&](const Lists& in) {
          history.push_back(norm_of(in));
          std::vector<double> last(history.end() - std::min<long>(20, ssize(history)),
                                   history.end());
          std::sort(last.begin(), last.end());
          const double at = percentile / 100 * static_cast<double>(last.size() - 1);
          const auto k = static_cast<size_t>(std::floor(at));
          const double limit = k + 1 == last.size() ? last[k]
                                                    : last[k] * (1 - (at - std::floor(at))) +
                                                          last[k + 1] * (at - std::floor(at));
          return norm_of(in) > limit * (1 + kRounding) ? times(in, limit / norm_of(in)) : in;
        },
        20);
  }
}

TEST(AutoClip, AStepThatIsNotFiniteIsNeitherClippedNorRemembered) {
  Steps steps(AutoClip{.percentile = 0}, {{2}});
  steps.step(Lists{{3, 4}});
  for (double bad : {kInf, kNaN}) {
    const Lists out = steps.step(Lists{{bad, 1}});
    EXPECT_EQ(out[0][1], 1);
    EXPECT_FALSE(steps.info.finite);
    EXPECT_EQ(steps.info.non_finite, "v0");
  }
  expect_near(steps.step(Lists{{6, 8}}), {{3, 4}});
  EXPECT_DOUBLE_EQ(steps.info.scale, 0.5);
}

// Norms grow from step to step: the smallest of the last is the oldest.
TEST(AutoClip, GoesOnWithTheNewestNormsWhenItsWindowChanges) {
  Variables vars({}, DType::float64);
  add_variable(vars, "v", {1}, {0});
  for (const int64_t window : {1, 3, 7})
    for (const int64_t seen : {2, 4, 7}) {
      SCOPED_TRACE(testing::Message() << window << ", " << seen);
      const AutoClip before{.percentile = 0, .window = 5}, after{.percentile = 0, .window = window};
      auto state = before.init(vars);
      const auto clipped = [&](const AutoClip& clip, int64_t norm) {
        Gradients gradients(vars);
        gradients.set(0, vector({static_cast<double>(norm)}, DType::float64));
        StepInfo info;
        clip.update(gradients, state, vars, info);
        return info.clipped_norm;
      };
      for (int64_t norm = 1; norm <= seen; ++norm) {
        clipped(before, norm);
        before.remember(state);
      }
      const auto saved = state.recent;
      const int64_t next = state.next, first = std::max<int64_t>(1, seen - 4);
      for (int64_t norm = seen + 1; norm < 20; ++norm) {
        const auto oldest = static_cast<double>(std::max(first, norm - window + 1));
        EXPECT_DOUBLE_EQ(clipped(after, norm), oldest) << norm;
        if (norm == seen + 1) {  // not yet applied
          EXPECT_EQ(state.recent, saved);
          EXPECT_EQ(state.next, next);
        }
        after.remember(state);
      }
    }
}

TEST(AutoClip, APlaceThatNoRingHasIsNotWrittenTo) {
  Variables vars({}, DType::float64);
  add_variable(vars, "v", {1}, {0});
  const AutoClip clip{.percentile = 0, .window = 3};
  for (const int64_t next : {int64_t{-5000000003}, int64_t{-1}, int64_t{3}, int64_t{1} << 40})
    for (const GrowingList& recent : {GrowingList{}, GrowingList{4, 5}, GrowingList{4, 5, 6}}) {
      auto state = clip.init(vars);
      state.recent = recent, state.next = next;  // as a file might say
      for (int step = 0; step < 4; ++step) {
        Gradients gradients(vars);
        gradients.set(0, vector({7}, DType::float64));
        StepInfo info;
        clip.update(gradients, state, vars, info);
        clip.remember(state);
      }
      EXPECT_EQ(state.recent, (GrowingList{7, 7, 7}));
    }
}

TEST(AutoClip, RefusesSettings) {
  Variables vars;
  EXPECT_THROW((void)AutoClip{.percentile = 101}.init(vars), InvalidArgument);
  EXPECT_THROW((void)AutoClip{.percentile = kNaN}.init(vars), InvalidArgument);
  EXPECT_THROW((void)AutoClip{.window = 0}.init(vars), InvalidArgument);
}

// ---------------------------------------------------------------- ZClip

TEST(ZClip, PullsOutliersTowardsTheMean) {
  for (const ZClipForm form : {ZClipForm::adaptive, ZClipForm::mean, ZClipForm::fixed})
    for (const double max_norm : {kInf, 5.0}) {
      constexpr double kAlpha = 0.9, kThreshold = 1.5;
      std::vector<double> warm;
      double mean = 0, var = 0;
      expect_like(
          ZClip{.alpha = kAlpha,
                .z_threshold = kThreshold,
                .max_norm = max_norm,
                .warmup = 10,
                .form = form},
          [&](const Lists& in) {
            const double norm = norm_of(in);
            double left = norm;
            if (warm.size() < 10) {
              warm.push_back(norm);
              mean = var = 0;
              for (double w : warm) mean += w / static_cast<double>(warm.size());
              for (double w : warm)
                var += (w - mean) * (w - mean) / static_cast<double>(warm.size());
            } else {
              const double sigma = std::sqrt(var), z = (norm - mean) / (sigma + 1e-6);
              if (form == ZClipForm::fixed) {
                left = std::min(norm, mean + kThreshold * sigma);
              } else if (z > kThreshold) {
                const double eta = z / kThreshold;
                left = form == ZClipForm::mean ? mean : mean + kThreshold * sigma / eta;
              }
              mean = kAlpha * mean + (1 - kAlpha) * left;
              var = kAlpha * var + (1 - kAlpha) * (left - mean) * (left - mean);
            }
            left = std::min(left, max_norm);
            return left < norm ? times(in, left / norm) : in;
          },
          10);
    }
}

TEST(ZClip, RefusesSettings) {
  Variables vars;
  EXPECT_THROW((void)ZClip{.alpha = 1.1}.init(vars), InvalidArgument);
  EXPECT_THROW((void)ZClip{.z_threshold = -1}.init(vars), InvalidArgument);
  EXPECT_THROW((void)ZClip{.max_norm = kNaN}.init(vars), InvalidArgument);
  EXPECT_THROW((void)ZClip{.warmup = 0}.init(vars), InvalidArgument);
}

// ---------------------------------------------------------------- moving averages of the logarithm

TEST(AdaptiveClipping, BringsOutliersToTheMeanOfTheLogarithm) {
  for (const bool quick : {true, false})
    for (const double most : {kInf, 3.0}) {
      double mean = 0, square = 0, t = 0;
      expect_like(
          AdaptiveClipping{
              .std_factor = 0.8, .decay = 0.9, .static_max_norm = most, .quick_start = quick},
          [&](const Lists& in) {
            const double norm = norm_of(in), log = std::log(norm + 1e-8);
            const double decay = quick ? std::min(0.9, t / (t + 1)) : 0.9;
            ++t;
            mean -= (mean - log) * (1 - decay);
            square -= (square - log * log) * (1 - decay);
            const double std = std::sqrt(std::max(1e-8, square - mean * mean));
            double factor = norm < std::exp(mean + 0.8 * std) ? 1 : std::exp(mean) / norm;
            factor = std::min(most / norm, factor);
            return factor < 1 ? times(in, factor) : in;
          },
          10);
    }
}

// ---------------------------------------------------------------- AdaGC

TEST(AdaGC, EachVariableByTheAverageOfItsNorms) {
  constexpr int kWarmup = 20;
  std::vector<double> gamma(2);
  int t = 0;
  expect_like(
      AdaGC{.lambda_rel = 1.2, .lambda_abs = 2, .beta = 0.9, .warmup = kWarmup},
      [&](const Lists& in) {
        Lists out = in;
        ++t;
        for (size_t i = 0; i < 2; ++i) {
          const double h = t < kWarmup ? std::min(2 / norm_of(in), 1.0)
                                       : std::min(1.2 * gamma[i] / norm_of(in[i]), 1.0);
          if (h < 1) out[i] = times({in[i]}, h)[0];
          const double left = norm_of(out[i]);
          if (t == 1)
            gamma[i] = left;
          else
            gamma[i] = t < kWarmup ? std::min(gamma[i], left) : 0.9 * gamma[i] + 0.1 * left;
        }
        return out;
      },
      50);
}

TEST(AdaGC, AbsentAndZeroGradientsAreNotRemembered) {
  Steps steps(AdaGC{.lambda_rel = 1, .lambda_abs = kInf, .beta = 0.5, .warmup = 2}, {{2}, {1}});
  steps.step(Lists{{3, 4}, {}});     // gamma 5 and none
  steps.step(Lists{{0, 0}, {100}});  // gamma 5 and 100
  expect_near(steps.step(Lists{{6, 8}, {200}}), {{3, 4}, {100}});
}

TEST(AdaGC, ANormThatIsNotFiniteIsNotRemembered) {
  for (const int64_t warmup : {1, 5})
    for (const double bad : {kInf, kNaN}) {
      Steps steps(AdaGC{.lambda_rel = 1, .lambda_abs = kInf, .beta = 0.5, .warmup = warmup}, {{2}});
      steps.step(Lists{{3, 4}});  // gamma 5
      EXPECT_EQ(steps.step(Lists{{bad, 1}})[0][1], 1);
      for (int64_t t = 2; t < warmup; ++t) steps.step(Lists{{3, 4}});
      expect_near(steps.step(Lists{{6, 8}}), {{3, 4}});
    }
}

// ---------------------------------------------------------------- spikes

TEST(ClipSpikes, NumbersFarAboveTheirOwnAverage) {
  Lists v{std::vector<double>(7), std::vector<double>(6)};
  expect_like(
      ClipSpikes{.theta = 20, .beta2 = 0.9},
      [&](const Lists& in) {
        Lists out = in;
        for (size_t i = 0; i < 2; ++i)
          for (size_t j = 0; j < in[i].size(); ++j) {
            double& g = out[i][j];
            double& second = v[i][j];
            if (second > 0 && g * g > 20 * second) g = (g > 0 ? 1 : -1) * std::sqrt(20 * second);
            second = 0.9 * second + 0.1 * g * g;
          }
        return out;
      },
      30);
}

TEST(ClipSpikes, OfAnySizeInFloat) {
  for (double size : {1e-30, 1e-3, 1e30}) {
    Steps steps(ClipSpikes{.theta = 16, .beta2 = 0.75}, {{2}}, DType::float32);
    steps.step(Lists{{size, -size}});  // sqrt(v) is size / 2
    const Lists out = steps.step(Lists{{size, -3e7 * size}});
    EXPECT_NEAR(out[0][0] / size, 1, 1e-6);
    EXPECT_NEAR(out[0][1] / size, -2, 1e-6);
  }
}

TEST(ClipSpikes, RowsThatAreThere) {
  Steps steps(ClipSpikes{.theta = 16, .beta2 = 0.75}, {{3, 2}});
  steps.step(std::vector<Gradient>{rows({2, 0}, {3, 2}, {1, 1, 2, 2}, DType::float64)});
  const auto out = steps.step(
      std::vector<Gradient>{rows({2, 1, 2}, {3, 2}, {5, 1, 9, 9, 5, 1}, DType::float64)});
  ASSERT_TRUE(out[0].is_sparse());
  expect_near({numbers(Gradient(to_dense(out[0].sparse())))}, {{0, 0, 9, 9, 2, 2}});
}

TEST(ClipSpikes, WhatIsNotFiniteIsNotRemembered) {
  Steps steps(ClipSpikes{.theta = 16, .beta2 = 0.75}, {{2}});
  steps.step(Lists{{kInf, 1}});
  EXPECT_EQ(steps.info.non_finite, "v0");
  steps.step(Lists{{1, kNaN}});
  expect_near(steps.step(Lists{{9, 9}}), {{2, 2}});
}

TEST(ClipSpikes, AnInfiniteNumberIsASpikeAndNaNStays) {
  Steps steps(ClipSpikes{.theta = 16, .beta2 = 0.75}, {{4}});
  steps.step(Lists{{2, 2, 2, 0}});  // sqrt(v) is 1
  const Lists out = steps.step(Lists{{-kInf, kNaN, 9, kInf}});
  EXPECT_TRUE(std::isnan(out[0][1]));
  expect_near({{out[0][0], out[0][2]}}, {{-4, 4}});
  EXPECT_EQ(out[0][3], kInf);  // v was 0
  EXPECT_TRUE(steps.info.clipped);
  EXPECT_EQ(steps.info.non_finite, "v0");
  const double limit = 4 * std::sqrt(0.75 + 0.25 * 16);
  expect_near(steps.step(Lists{{99, 99, 99, 99}}), {{limit, 4, limit, 99}});
}

}  // namespace
}  // namespace rein
