// Evaluating with the averages that a rule keeps.
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

using test::error_of;
using Weights = std::vector<std::vector<double>>;

Weights averages(Step& step, Variables& vars) {
  Weights all;
  for (size_t i = 0; i < vars.size(); ++i) all.push_back(numbers(step.average(vars[i])));
  return all;
}

TEST(WithAverages, ParametersAreTheAveragesInsideAndThemselvesAfterwards) {
  SmallModel model, plain;
  Step step = record(model.cost(), model.vars, chain(),
                     WeightAverage{.rule = Adam{}, .averaging = Averaging::equal});
  Step same = record(plain.cost(), plain.vars, chain(), Adam{});
  Weights sum = plain.weights();
  for (auto& w : sum) std::ranges::fill(w, 0);
  for (int t = 1; t <= 4; ++t) {
    step(model.x, model.y, model.ids);
    same(plain.x, plain.y, plain.ids);
    const Weights own = plain.weights();
    Weights inside;
    step.with_averages([&] { inside = model.weights(); });
    EXPECT_EQ(model.weights(), own);
    EXPECT_EQ(inside, averages(step, model.vars));
    for (size_t i = 0; i < own.size(); ++i)
      for (size_t k = 0; k < own[i].size(); ++k) {
        sum[i][k] += own[i][k];
        EXPECT_NEAR(inside[i][k], sum[i][k] / t, 1e-6);  // a few roundings in float
      }
  }
  struct Stop {};
  EXPECT_THROW(step.with_averages([] { throw Stop(); }), Stop);
  EXPECT_EQ(model.weights(), plain.weights());
}

TEST(WithAverages, NobodyTrainsOrSavesInside) {
  SmallModel model;
  Step step = record(model.cost(), model.vars, chain(), WeightAverage{.rule = Adam{}});
  step(model.x, model.y, model.ids);
  const StateDict saved = step.state();
  const auto error = [&](auto f) {
    std::string text;
    step.with_averages([&] { text = error_of(f); });
    return text.substr(text.find(": "));
  };
  const std::string want = ": parameters are averages inside with_averages; go on after it";
  EXPECT_EQ(error([&] { step(model.x, model.y, model.ids); }), want);
  EXPECT_EQ(error([&] { step.accumulate(model.x, model.y, model.ids); }), want);
  EXPECT_EQ(error([&] { step.state(); }), want);
  EXPECT_EQ(error([&] { step.load_state(saved); }), want);
  EXPECT_EQ(error([&] { step.with_averages([] {}); }), want);
  EXPECT_EQ(step(model.x, model.y, model.ids).step, 2);
}

TEST(WithAverages, OfAnOptimizer) {
  SmallModel model;
  RuleOptimizer optimizer(AnyRule(WeightAverage{.rule = Adam{}, .decay = 0.5}));
  EXPECT_NE(error_of([&] { optimizer.average(model.w); }).find("before the first update"),
            std::string::npos);
  std::vector<double> want;
  for (int t = 0; t < 3; ++t) {
    GradientTape tape;
    optimizer.minimize(model.loss_on(tape), model.vars);
    const auto w = numbers(model.w.read());
    if (t == 0) want = w;
    for (size_t k = 0; k < w.size(); ++k) want[k] = (want[k] + w[k]) / 2;
  }
  const auto got = numbers(optimizer.average(model.w));
  for (size_t k = 0; k < want.size(); ++k) EXPECT_NEAR(got[k], want[k], 1e-6);
}

TEST(WithAverages, BeforeVariablesAreMadeThereAreNone) {
  Variables vars;
  const auto cost = [&](Value x) {
    if (!vars.contains("w")) vars.add("w", {3}, zeros());
    return reduce_sum(square(x - vars.at("w")));
  };
  Step step = record(cost, vars, chain(), WeightAverage{.rule = Adam{}});
  step.with_averages([] {});
  step(vector({1, 2, 3}));
  step.with_averages([] {});
}

}  // namespace
}  // namespace rein
