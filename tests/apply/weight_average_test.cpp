// Averages of weights and Lookahead, against the numbers of other libraries and their formulas.
#include "rein/apply/rules/weight_average.h"

#include <gtest/gtest.h>

#include <cmath>

#include "process/numbers.h"
#include "rein/apply/apply.h"
#include "rein/apply/rules.h"
#include "support/error_text.h"

namespace rein {
namespace {

const std::vector<double> kGradients{0.5, -0.25, 0.375, 2, 0.125, -1.5};
const AnyRule kDescent = GradientDescent{.learning_rate = 0.1};

// One variable of one number, which begins as 1, and its average, step by step.
struct Path {
  std::vector<double> weights, averages;
};
Path path(const AnyRule& rule) {
  Variables vars({}, DType::float64);
  const Variable w = add_variable(vars, "w", {1}, {1});
  auto state = rule.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  Path out;
  for (double value : kGradients) {
    g.set(0, vector({value}, DType::float64));
    apply_updates(vars, g, rule, state, {}, team);
    out.weights.push_back(numbers(w.read())[0]);
    out.averages.push_back(numbers(rule.average(state, w))[0]);
  }
  return out;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                 double tolerance = 1e-14) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
}

TEST(WeightAverage, IsThatOfOtherLibraries) {
  const std::vector<double> plain = path(kDescent).weights;
  const auto averages = [&](Averaging averaging) {
    const Path got = path(WeightAverage{.rule = kDescent, .averaging = averaging, .decay = 0.75});
    EXPECT_EQ(got.weights, plain);
    return got.averages;
  };
  // torch 2.15: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75)), and without it
  expect_near(averages(Averaging::exponential),
              {0.95, 0.95625, 0.9515625, 0.898046875, 0.85478515625, 0.8598388671875});
  expect_near(averages(Averaging::equal),
              {0.95, 0.9625, 0.9541666666666666, 0.9, 0.865, 0.8666666666666667});
  // tensorflow 2.21: tf.train.ExponentialMovingAverage(0.75), its shadow made of the initial
  // weight; then with num_updates 1, 2, ..., which it divides in float32
  expect_near(averages(Averaging::from_initial),
              {0.9875, 0.984375, 0.97265625, 0.9138671875, 0.866650390625, 0.86873779296875});
  expect_near(averages(Averaging::warming),
              {0.9590909093618393, 0.9710227273404598, 0.9478146847207229, 0.812612389191077,
               0.7600449535875887, 0.8247071671945702},
              1e-8);
  // optax 0.2.8: optax.ema(0.75, debias=True) of the weights
  expect_near(averages(Averaging::corrected), {0.95, 0.9642857142857143, 0.9527027027027027, 0.874,
                                               0.8251600512163894, 0.8403177903177904});
}

TEST(WeightAverage, BeginsAtAStepAndTakesEveryFewAndCanBeWrittenBack) {
  for (Averaging averaging : {Averaging::equal, Averaging::exponential, Averaging::from_initial}) {
    const double decay = 0.8;
    Path want;
    double w = 1, a = 0;
    int n = 0;
    for (size_t t = 1; t <= kGradients.size(); ++t) {
      const bool due = t == 2 || t == 4 || t == 6;
      if (t == 2 && averaging == Averaging::from_initial) a = w;
      w -= 0.1 * kGradients[t - 1];
      if (due) {
        ++n;
        if (averaging == Averaging::equal)
          a = (a * (n - 1) + w) / n;
        else if (averaging == Averaging::exponential && n == 1)
          a = w;
        else
          a = decay * a + (1 - decay) * w;
      }
      if (t % 5 == 0) w = a;
      want.weights.push_back(w);
      want.averages.push_back(n > 0 ? a : w);
    }
    const Path got = path(WeightAverage{.rule = kDescent,
                                        .averaging = averaging,
                                        .decay = decay,
                                        .first = 2,
                                        .every = 2,
                                        .overwrite_every = 5});
    expect_near(got.weights, want.weights);
    expect_near(got.averages, want.averages);
  }
}

TEST(LookaheadRule, IsThatOfOptax) {
  // optax 0.2.8: optax.lookahead(optax.sgd(0.1), sync_period=2, slow_step_size=0.3), fast and slow
  const Path got = path(Lookahead{.rule = kDescent, .sync_period = 2, .slow_step_size = 0.3});
  expect_near(got.weights, {0.95, 0.9925, 0.955, 0.92125, 0.90875, 0.9625});
  expect_near(got.averages, {1, 0.9925, 0.9925, 0.92125, 0.92125, 0.9625});
}

TEST(LookaheadRule, LetsTheRuleForgetAsOptaxDoes) {
  // optax 0.2.8 in float64: optax.lookahead(inner, sync_period=2, slow_step_size=0.3,
  // reset_state=True), inner = optax.sgd(0.1, momentum=0.9), optax.adam(0.1, b1=0.8, b2=0.9)
  const std::pair<AnyRule, std::vector<double>> rows[] = {
      {Momentum{.learning_rate = 0.1, .momentum = 0.9},
       {0.95, 0.979, 0.9415, 0.897625, 0.885125, 0.9355}},
      {Adam{.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .form = RuleForm::optax},
       {0.900000002, 0.9635731548960459, 0.8635731575627125, 0.9075620286956922, 0.8075620366956916,
        0.8989371911843617}}};
  for (const auto& [inner, weights] : rows) {
    Lookahead rule{.rule = inner, .sync_period = 2, .slow_step_size = 0.3, .reset_state = true};
    expect_near(path(rule).weights, weights);
    rule.reset_state = false;
    EXPECT_GT(std::abs(path(rule).weights.back() - weights.back()), 1e-3);
  }
}

TEST(Averages, AreThoseOfTheRuleThatMovesAVariable) {
  const AnyRule free = ScheduleFreeAdamW{.learning_rate = 0.1};
  const Path alone = path(free);
  EXPECT_NE(alone.averages, alone.weights);
  EXPECT_EQ(path(RuleGroups{.groups = {{"w", free}}, .otherwise = Adam{}}).averages,
            alone.averages);
  EXPECT_EQ(path(Muon{.others = free}).averages, alone.averages);
  const Path plain = path(kDescent);
  EXPECT_EQ(plain.averages, plain.weights);
}

TEST(Averages, AreNotAroundARuleThatKeepsItsOwn) {
  const auto error = [](AnyRule rule) { return test::error_of([&] { path(rule); }); };
  const AnyRule free = ScheduleFreeAdamW{};
  EXPECT_EQ(error(WeightAverage{.rule = free}),
            "WeightAverage: ScheduleFreeAdamW keeps the parameters between its own average and "
            "where it is going, so that nothing else may move or average them; train with it alone "
            "and evaluate with its average, or put AdamW into WeightAverage");
  // Also if it is a part of what is inside.
  for (const AnyRule& inner :
       {free, AnyRule(RuleGroups{.groups = {{"b", free}}, .otherwise = Adam{}}),
        AnyRule(Muon{.others = free})}) {
    EXPECT_TRUE(error(Lookahead{.rule = inner}).starts_with("Lookahead: ScheduleFreeAdamW keeps"));
    EXPECT_TRUE(error(ClipUpdates{.rule = inner, .clip = chain()})
                    .starts_with("ClipUpdates: ScheduleFreeAdamW keeps"));
  }
}

TEST(Averages, AreAroundGroupsNotInside) {
  const auto error = [](AnyRule rule) { return test::error_of([&] { path(rule); }); };
  EXPECT_NE(error(RuleGroups{.groups = {{"w", WeightAverage{.rule = Adam{}}}}, .otherwise = Adam{}})
                .find("put it around RuleGroups"),
            std::string::npos);
  EXPECT_EQ(error(WeightAverage{.rule = Adam{}, .decay = 1}),
            "WeightAverage: decay must be in [0, 1), got 1");
  EXPECT_NE(error(WeightAverage{.rule = Adam{}, .first = 0}).find("first"), std::string::npos);
  EXPECT_NE(error(WeightAverage{.rule = Adam{}, .every = 0}).find("every"), std::string::npos);
  EXPECT_NE(error(WeightAverage{.rule = Adam{}, .overwrite_every = -1}).find("overwrite_every"),
            std::string::npos);
  EXPECT_NE(error(Lookahead{.rule = Adam{}, .sync_period = 0}).find("sync_period"),
            std::string::npos);
  EXPECT_NE(error(Lookahead{.rule = Adam{}, .slow_step_size = 1.5}).find("slow_step_size"),
            std::string::npos);
}

}  // namespace
}  // namespace rein
