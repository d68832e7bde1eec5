// Scaling, normalising, noise, NaNs; limits that follow the step; groups.
#include "rein/process/scale.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "process/steps.h"
#include "rein/process/clip.h"
#include "rein/process/finite.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

void expect_near(const Lists& got, const Lists& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].size(), want[i].size());
    for (size_t j = 0; j < got[i].size(); ++j)
      EXPECT_NEAR(got[i][j], want[i][j], 1e-13 * std::abs(want[i][j])) << i << ", " << j;
  }
}

// ---------------------------------------------------------------- scaling

TEST(Scale, FollowsTheStep) {
  Steps steps(Scale{.factor = [](int64_t step) { return static_cast<double>(step) + 2; }}, {{2}});
  EXPECT_EQ(steps.step(Lists{{1, -3}}), (Lists{{2, -6}}));
  EXPECT_EQ(steps.step(Lists{{1, -3}}), (Lists{{3, -9}}));
}

TEST(Multiply, ByTheFirstPatternThatMatches) {
  Steps steps(Multiply{.multipliers = {{"v1", 0.5}, {"v?", 3.0}}}, {{2}, {1}, {1}});
  EXPECT_EQ(steps.step(Lists{{1, 2}, {8}, {}}), (Lists{{3, 6}, {4}, {}}));
  const auto from_the_second_on = [](int64_t step) { return step == 0 ? 0.0 : 4.0; };
  Steps scheduled(Multiply{.multipliers = {{"v1", from_the_second_on}, {"v?", 3.0}}}, {{2}, {1}});
  EXPECT_EQ(scheduled.step(Lists{{1, 2}, {8}}), (Lists{{3, 6}, {0}}));
  EXPECT_EQ(scheduled.step(Lists{{1, 2}, {8}}), (Lists{{3, 6}, {32}}));
  Variables vars;
  add_variable(vars, "out/bias", {1}, {0});
  const auto error = error_of([&] { (void)Multiply{.multipliers = {{"biases", 2.0}}}.init(vars); });
  EXPECT_NE(error.find("no variable matches 'biases'; there are 'out/bias'"), std::string::npos)
      << error;
}

TEST(Normalize, GivesEveryStepTheSameLength) {
  Steps together(Normalize{.norm = 26}, {{2}, {1}});
  expect_near(together.step(Lists{{3, 4}, {12}}), {{6, 8}, {24}});
  EXPECT_DOUBLE_EQ(together.info.norm, 13);
  EXPECT_DOUBLE_EQ(together.info.clipped_norm, 26);
  EXPECT_FALSE(together.info.clipped);
  EXPECT_EQ(together.step(Lists{{0, 0}, {0}}), (Lists{{0, 0}, {0}}));
  Steps each(Normalize{.norm = 10, .per_variable = true}, {{2}, {1}, {1}});
  expect_near(each.step(Lists{{3, 4}, {-12}, {0}}), {{6, 8}, {-10}, {0}});
  Steps eased(Normalize{.norm = 1, .epsilon = 5}, {{2}});
  expect_near(eased.step(Lists{{3, 4}}), {{0.3, 0.4}});
  EXPECT_EQ(eased.step(Lists{{kInf, 4}}), (Lists{{kInf, 4}}));
}

// The factors are 2^133, above all floats, and 2^1027, above all doubles.
TEST(Normalize, TinyGradientsToo) {
  const double tiny = 0x1p-133, least = 0x1p-1027;
  for (const bool per_variable : {false, true})
    for (const DType dtype : {DType::float32, DType::float64}) {
      Steps steps(Normalize{.norm = 5, .per_variable = per_variable}, {{3}}, dtype);
      EXPECT_EQ(steps.step(Lists{{3 * tiny, 0, -4 * tiny}}), (Lists{{3, 0, -4}}));
      Steps chained(chain(Normalize{.norm = 5, .per_variable = per_variable}, ClipByValue{-4, 2}),
                    {{3}}, dtype);
      EXPECT_EQ(chained.step(Lists{{3 * tiny, 0, -4 * tiny}}), (Lists{{2, 0, -4}}));
    }
  Steps steps(Normalize{.norm = 5}, {{2}});
  EXPECT_EQ(steps.step(Lists{{3 * least, -4 * least}}), (Lists{{3 * least, -4 * least}}));
}

TEST(Normalize, WantsALengthThatIsFinite) {
  Variables vars;
  add_variable(vars, "v", {1}, {0});
  for (const double norm : {kInf, kNaN, -1.0}) {
    const auto error = error_of([&] { (void)Normalize{.norm = norm}.init(vars); });
    EXPECT_NE(error.find("Normalize: norm is "), std::string::npos) << error;
  }
  Steps steps(Normalize{.norm = [](int64_t step) { return step == 0 ? 5 : kInf; }}, {{2}});
  EXPECT_EQ(steps.step(Lists{{3, 4}}), (Lists{{3, 4}}));
  const auto error = error_of([&] { steps.step(Lists{{3, 4}}); });
  EXPECT_NE(error.find("Normalize: norm is inf"), std::string::npos) << error;
}

// ---------------------------------------------------------------- noise

TEST(AddNoise, HasItsVarianceAndDecays) {
  const size_t n = 20000;
  Steps steps(AddNoise{.eta = 4, .gamma = 0.5, .seed = 3}, {{static_cast<int64_t>(n)}});
  std::vector<double> first;
  for (int t = 0; t < 4; ++t) {
    const auto out = steps.step(Lists{std::vector<double>(n, 1.0)})[0];
    double mean = 0, square = 0;
    for (double v : out) {
      mean += (v - 1) / static_cast<double>(n);
      square += (v - 1) * (v - 1) / static_cast<double>(n);
    }
    const double variance = 4 / std::sqrt(1.0 + t);
    EXPECT_NEAR(mean, 0, 5 * std::sqrt(variance / static_cast<double>(n)));
    EXPECT_NEAR(square / variance, 1, 5 * std::sqrt(2 / static_cast<double>(n)));
    EXPECT_NE(out, first);
    first = out;
  }
}

TEST(AddNoise, IsAFunctionOfSeedVariableAndStep) {
  const std::vector<Shape> shapes{{300, 200}, {5}};
  const Lists zero{std::vector<double>(60000), std::vector<double>(5)};
  Lists first;
  for (int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    Steps steps(AddNoise{.seed = 1}, shapes);
    const Lists out = steps.step(zero, &team);
    if (threads == 1) first = out;
    EXPECT_EQ(out, first);
  }
  EXPECT_NE(Lists{first[1]}, Lists{std::vector<double>(first[0].begin(), first[0].begin() + 5)});
  EXPECT_NE(Steps(AddNoise{.seed = 2}, shapes).step(zero), first);
}

TEST(AddNoise, DoesNotComeBackAfterManySteps) {
  Variables vars;
  add_variable(vars, "v", {3}, {0, 0, 0});
  const AddNoise noise{};
  std::set<std::vector<double>> seen;
  const std::vector<int64_t> steps{0, 5, 1 << 23, (1 << 24) + 5, (1 << 25) + 5, 1 << 24};
  for (const int64_t step : steps) {
    auto state = noise.init(vars);
    state.step = step;
    Gradients gradients(vars);
    gradients.set(0, Tensor({3}));
    StepInfo info;
    noise.update(gradients, state, vars, info);
    std::vector<double> undamped;
    for (double v : numbers(gradients.get(0)))
      undamped.push_back(v * std::pow(1 + static_cast<double>(step), noise.gamma / 2));
    for (const auto& other : seen)
      EXPECT_GT(std::abs(other[0] - undamped[0]), 1e-5 * std::abs(undamped[0])) << step;
    seen.insert(undamped);
  }
  EXPECT_EQ(seen.size(), steps.size());
}

TEST(AddNoise, OfARowIsThatOfTheRowWhateverStandsBesideIt) {
  const auto noise_in = [](const Gradient& g) {
    Steps steps(AddNoise{.seed = 1}, {{5, 2}});
    const Gradient out = steps.step(std::vector<Gradient>{g})[0];
    return numbers(out.is_sparse() ? Gradient(to_dense(out.sparse())) : out);
  };
  const std::vector<double> zeros(10), dense = noise_in(tensor({5, 2}, zeros, DType::float64));
  for (const std::vector<int64_t>& there : {std::vector<int64_t>{3}, {1, 3}, {3, 1}, {3, 1, 3}}) {
    const std::vector<double> of_rows =
        noise_in(rows(there, {5, 2}, std::vector<double>(2 * there.size()), DType::float64));
    for (size_t i = 0; i < 10; ++i) {
      const auto row = static_cast<int64_t>(i / 2);
      EXPECT_EQ(of_rows[i], std::ranges::count(there, row) > 0 ? dense[i] : 0) << i;
    }
  }
}

// ---------------------------------------------------------------- NaN

TEST(ZeroNans, NaNsBecomeZeroAndAreNamed) {
  Steps steps(ZeroNans{}, {{2}, {3}, {1}}, DType::float32);
  EXPECT_EQ(steps.step(Lists{{1, 2}, {kNaN, -kInf, 3}, {}}), (Lists{{1, 2}, {0, -kInf, 3}, {}}));
  EXPECT_EQ(steps.info.non_finite, "v1");
  EXPECT_FALSE(steps.info.finite);
  steps.step(Lists{{1, 2}, {1, 2, 3}, {}});
  EXPECT_TRUE(steps.info.finite);
  const Gradient list[] = {vector({1}), {}, rows({1}, {2, 1}, {kNaN})};
  const auto [zeroed, found] = zero_nans(list);
  EXPECT_EQ(found, (std::vector<char>{0, 0, 1}));
  EXPECT_EQ(numbers(zeroed[2]), (std::vector<double>{0}));
}

// ---------------------------------------------------------------- limits

TEST(Threshold, FollowsTheStep) {
  const auto limit = [](int64_t step) { return step == 0 ? 1.0 : kInf; };
  for (const AnyTransform& clip :
       {AnyTransform(ClipByNorm{.clip_norm = limit}),
        AnyTransform(ClipByGlobalNorm{.clip_norm = limit}),
        AnyTransform(ClipByAverageNorm{.clip_norm = [&](int64_t step) { return limit(step) / 2; }}),
        AnyTransform(MaxChange{.global = limit})}) {
    Steps steps(clip, {{2}});
    expect_near(steps.step(Lists{{3, 4}}), {{0.6, 0.8}});
    EXPECT_EQ(steps.step(Lists{{3, 4}}), (Lists{{3, 4}}));
  }
  Steps value(ClipByValue{.max = limit}, {{2}});
  EXPECT_EQ(value.step(Lists{{3, -4}}), (Lists{{1, -4}}));
  EXPECT_EQ(value.step(Lists{{3, -4}}), (Lists{{3, -4}}));
}

TEST(Threshold, ThatTurnsNegativeIsAnErrorOfItsStepAndChangesNothing) {
  Steps steps(ClipByNorm{.clip_norm = [](int64_t step) { return 1.0 - static_cast<double>(step); }},
              {{2}});
  steps.step(Lists{{3, 4}});
  steps.step(Lists{{3, 4}});
  EXPECT_NE(error_of([&] {
              steps.step(Lists{{3, 4}});
            }).find("ClipByNorm: clip_norm is -1"),
            std::string::npos);
}

TEST(Threshold, PerSampleGrowsWithTheBatch) {
  Steps steps(ClipByNorm{.clip_norm = per_sample(0.5)}, {{2}});
  EXPECT_NE(error_of([&] {
              steps.step(Lists{{3, 4}});
            }).find("StepOptions::batch_axis"),
            std::string::npos);
  steps.examples = 2;
  expect_near(steps.step(Lists{{3, 4}}), {{0.6, 0.8}});
  steps.examples = 20;
  EXPECT_EQ(steps.step(Lists{{3, 4}}), (Lists{{3, 4}}));
}

// ---------------------------------------------------------------- global norms

TEST(ClipByGlobalNorm, OfAnyOrder) {
  const Lists in{{3, -4}, {12}};
  const std::pair<double, double> norms[] = {
      {1, 19}, {2, 13}, {3, std::cbrt(27 + 64 + 1728.0)}, {kInf, 12}};
  for (const auto& [order, norm] : norms) {
    Steps steps(ClipByGlobalNorm{.clip_norm = norm / 2, .norm_type = order}, {{2}, {1}});
    expect_near(steps.step(in), times(in, 0.5));
    EXPECT_NEAR(steps.info.norm, norm, 1e-14 * norm);
    EXPECT_NEAR(steps.info.clipped_norm, norm / 2, 1e-14 * norm);
    const Gradient list[] = {vector({3, -4}), {}, vector({12})};
    EXPECT_NEAR(global_norm(list, {.norm_type = order}), norm, 1e-14 * norm);
    Steps measured(MeasureNorm{.norm_type = order}, {{2}, {1}});
    EXPECT_EQ(measured.step(in), in);
    EXPECT_NEAR(measured.info.norm, norm, 1e-14 * norm);
  }
  EXPECT_THROW(global_norm({}, {.norm_type = 0.5}), InvalidArgument);
  EXPECT_THROW(global_norm({}, {.norm_type = 3, .semantics = Semantics::tensorflow}),
               InvalidArgument);
}

TEST(ClipByGlobalNorm, WithANormFromOutside) {
  double seen = 0;
  Steps steps(ClipByGlobalNorm{.clip_norm = 5,
                               .use_norm =
                                   [&](double own) {
                                     seen = own;
                                     return 2 * own;
                                   }},
              {{2}});
  expect_near(steps.step(Lists{{3, 4}}), {{1.5, 2}});
  EXPECT_DOUBLE_EQ(seen, 5);
  EXPECT_DOUBLE_EQ(steps.info.norm, 10);
}

TEST(ClipByGlobalNorm, ErrorIfNotFiniteNamesTheVariable) {
  Steps steps(ClipByGlobalNorm{.error_if_nonfinite = true}, {{2}, {1}});
  const auto error = error_of([&] { steps.step(Lists{{3, 4}, {kNaN}}); });
  EXPECT_NE(error.find("'v1'"), std::string::npos) << error;
  const Gradient list[] = {vector({1}), vector({kInf})};
  const auto function =
      error_of([&] { clip_by_global_norm(list, 1, {.error_if_nonfinite = true}); });
  EXPECT_NE(function.find("gradient 1 of 2"), std::string::npos) << function;
}

TEST(MaxChange, EachVariableThenAllOfThem) {
  Steps steps(MaxChange{.per_variable = 4, .global = 2.5}, {{2}, {1}});
  expect_near(steps.step(Lists{{6, 8}, {3}}), {{1.2, 1.6}, {1.5}});  // (4, 3) has norm 5
  EXPECT_DOUBLE_EQ(steps.info.clipped_norm, 2.5);
  EXPECT_DOUBLE_EQ(steps.info.norm, std::sqrt(109.0));
}

// ---------------------------------------------------------------- groups

TEST(Groups, PatternsOfNames) {
  for (const char* pattern : {"*", "a/b", "a*", "*b", "?/b", "a*/b", "a**b", "*a*b*", "???"})
    EXPECT_TRUE(matches(pattern, "a/b")) << pattern;
  for (const char* pattern : {"", "a", "b*", "a/b?", "????", "*/a", "a/"})
    EXPECT_FALSE(matches(pattern, "a/b")) << pattern;
  EXPECT_TRUE(matches("*ab*abc", "xabababc"));
}

TEST(Groups, EachWithItsOwnLimit) {
  Steps steps(chain(Scale{.factor = 2.0}, Groups{{{"v0", ClipByGlobalNorm{.clip_norm = 1}},
                                                  {"v3", chain()},
                                                  {"*", ClipByGlobalNorm{.clip_norm = 13}}}}),
              {{2}, {1}, {1}, {1}});
  expect_near(steps.step(Lists{{3, 4}, {5}, {12}, {7}}), {{0.6, 0.8}, {5}, {12}, {14}});
  // (6, 8), 10, 24 and 14 go in; (0.6, 0.8), 5, 12 and 14 come out.
  EXPECT_NEAR(steps.info.norm, norm_of({10, 10, 24, 14}), 1e-12);
  EXPECT_NEAR(steps.info.clipped_norm, norm_of({1, 5, 12, 14}), 1e-12);
}

TEST(Groups, OnlyAndExcept) {
  Steps some(only("v1", ClipByNorm{.clip_norm = 1}), {{2}, {1}});
  EXPECT_EQ(some.step(Lists{{3, 4}, {5}}), (Lists{{3, 4}, {1}}));
  EXPECT_DOUBLE_EQ(some.info.norm, norm_of({5, 5}));
  Steps others(except("v1", ClipByGlobalNorm{.clip_norm = 1}), {{2}, {1}});
  expect_near(others.step(Lists{{3, 4}, {5}}), {{0.6, 0.8}, {5}});
  EXPECT_DOUBLE_EQ(others.info.clipped_norm, norm_of({1, 5}));
  EXPECT_TRUE(others.info.clipped);
  Steps unmeasured(only("v0", Scale{.factor = 2.0}), {{2}, {1}});
  EXPECT_EQ(unmeasured.step(Lists{{3, 4}, {5}}), (Lists{{6, 8}, {5}}));
  EXPECT_FALSE(unmeasured.info.measured);
}

TEST(Groups, StopAtTheFirstThatAsksToSkip) {
  int seen = 0;
  const AnyTransform counts = [&](Gradients&, const Variables&, StepInfo&) { ++seen; };
  Steps steps(Groups{{{"v0", CheckFinite{.skip_above = 1}}, {"*", counts}}}, {{2}, {1}});
  steps.step(Lists{{3, 4}, {12}});
  EXPECT_TRUE(steps.info.skip);
  EXPECT_EQ(seen, 0);
  EXPECT_DOUBLE_EQ(steps.info.norm, 13);  // of all, nevertheless
  steps.step(Lists{{0.3, 0.4}, {12}});
  EXPECT_FALSE(steps.info.skip);
  EXPECT_EQ(seen, 1);
}

TEST(Groups, AbsentStaysAbsentAndABadVariableIsNamed) {
  Steps steps(Groups{{{"v0", ClipByNorm{}}, {"*", ClipByNorm{}}}}, {{2}, {1}, {1}});
  const Lists out = steps.step(Lists{{3, 4}, {}, {kNaN}});
  EXPECT_TRUE(out[1].empty());
  EXPECT_EQ(steps.info.non_finite, "v2");
  EXPECT_FALSE(steps.info.finite);
  Variables vars;
  add_variable(vars, "a", {1}, {0});
  EXPECT_NE(error_of([&] { (void)only("b", ClipByNorm{}).init(vars); }).find("no variable matches"),
            std::string::npos);
}

// ---------------------------------------------------------------- per example

TEST(PerExample, EachIsShortenedBeforeTheyAreAddedUp) {
  const Tensor g[] = {tensor({3, 2}, {3, 0, 0.3, 0, 6, 0}), tensor({3}, {4, 0.4, 8})};
  const auto [sums, clipped] = per_example_global_norm_clip(g, 1);
  EXPECT_EQ(clipped, 2);
  EXPECT_NEAR(numbers(sums[0])[0], 0.6 + 0.3 + 0.6, 3e-7);
  EXPECT_NEAR(numbers(sums[1])[0], 0.8 + 0.4 + 0.8, 3e-7);
  const Tensor bad[] = {tensor({2, 1}, {kNaN, 0.5})};
  const auto [left, count] = per_example_global_norm_clip(bad, 1);
  EXPECT_EQ(numbers(left[0]), (std::vector<double>{0.5}));  // the bad one is left out
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace rein
