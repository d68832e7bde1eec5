// Each rule against its formula, written out in double.
#include "rein/apply/rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "process/numbers.h"
#include "rein/apply/apply.h"

namespace rein {
namespace {

const double kNaN = std::nan("");

// Drives one variable of one number through a rule.
std::vector<double> path(const AnyRule& rule, const std::vector<double>& gradients,
                         DType dtype = DType::float64) {
  Variables vars({}, dtype);
  const Variable w = add_variable(vars, "w", {1}, {1});
  auto state = rule.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  std::vector<double> out;
  for (double value : gradients) {
    g.set(0, vector({value}, dtype));
    apply_updates(vars, g, rule, state, {}, team);
    out.push_back(numbers(w.read())[0]);
  }
  return out;
}

void expect_path(const std::vector<double>& got, const std::vector<double>& want,
                 double tolerance = 1e-14) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
}

const std::vector<double> kGradients{0.5, -0.25, 1e-8, 2, 0.125};
double rate_at(int64_t step) { return step < 2 ? 0.1 : 0.03; }

TEST(GradientDescentRule, FollowsItsFormula) {
  double w = 1;
  std::vector<double> want;
  for (size_t t = 0; t < kGradients.size(); ++t)
    want.push_back(w -= rate_at(static_cast<int64_t>(t)) * kGradients[t]);
  expect_path(path(GradientDescent{.learning_rate = rate_at}, kGradients), want);
}

TEST(MomentumRule, FollowsTheFormulaOfEachForm) {
  for (RuleForm form : {RuleForm::tensorflow, RuleForm::keras, RuleForm::pytorch})
    for (bool nesterov : {false, true}) {
      const double mu = 0.8;
      double w = 1, a = 0;
      std::vector<double> want;
      for (size_t t = 0; t < kGradients.size(); ++t) {
        const double g = kGradients[t], rate = rate_at(static_cast<int64_t>(t));
        if (form == RuleForm::keras) {
          a = mu * a - rate * g;
          w += nesterov ? mu * a - rate * g : a;
        } else {
          a = mu * a + g;
          w -= nesterov ? rate * (g + mu * a) : rate * a;
        }
        want.push_back(w);
      }
      expect_path(
          path(
              Momentum{
                  .learning_rate = rate_at, .momentum = mu, .use_nesterov = nesterov, .form = form},
              kGradients),
          want);
    }
}

TEST(MomentumRule, DampeningSparesTheFirstGradient) {
  const double mu = 0.8, damp = 0.3;
  double w = 1, a = 0;
  std::vector<double> want;
  for (size_t t = 0; t < kGradients.size(); ++t) {
    a = t == 0 ? kGradients[0] : mu * a + (1 - damp) * kGradients[t];
    want.push_back(w -= 0.1 * a);
  }
  expect_path(
      path(
          Momentum{
              .learning_rate = 0.1, .momentum = mu, .dampening = damp, .form = RuleForm::pytorch},
          kGradients),
      want);
}

TEST(AdamRule, FollowsTheFormulaOfEachForm) {
  for (RuleForm form : {RuleForm::tensorflow, RuleForm::keras, RuleForm::pytorch}) {
    const double b1 = 0.7, b2 = 0.95, epsilon = 1e-3;
    double w = 1, m = 0, v = 0;
    std::vector<double> want;
    for (size_t k = 0; k < kGradients.size(); ++k) {
      const double g = kGradients[k], rate = rate_at(static_cast<int64_t>(k));
      const auto t = static_cast<double>(k + 1);
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      if (form == RuleForm::pytorch)
        w -= rate / (1 - std::pow(b1, t)) * m /
             (std::sqrt(v) / std::sqrt(1 - std::pow(b2, t)) + epsilon);
      else
        w -= rate * std::sqrt(1 - std::pow(b2, t)) / (1 - std::pow(b1, t)) * m /
             (std::sqrt(v) + epsilon);
      want.push_back(w);
    }
    const Adam rule{
        .learning_rate = rate_at, .beta1 = b1, .beta2 = b2, .epsilon = epsilon, .form = form};
    expect_path(path(rule, kGradients), want);
    expect_path(path(rule, kGradients, DType::float32), want, 2e-6);  // five steps of a few ulp
  }
}

TEST(AdamRule, SettingsTakeTheTypeOfTheVariables) {
  // 0.999 rounded to float differs by 1.3e-8, which moves 1 - b2 by 1.3e-5 of itself: TensorFlow
  // subtracts the rounded number, Keras and PyTorch the decimal one.
  for (RuleForm form : {RuleForm::tensorflow, RuleForm::keras, RuleForm::pytorch}) {
    Variables vars;
    add_variable(vars, "w", {1}, {1});
    const AnyRule rule = Adam{.form = form};
    auto state = rule.init(vars);
    Gradients g(vars);
    g.set(0, vector({1}));
    ThreadTeam team(1);
    apply_updates(vars, g, rule, state, {}, team);
    const Tensor v = rule.slots(state)[1]->read(vars[0]);
    EXPECT_EQ(v.flat<float>()[0], form == RuleForm::tensorflow ? 1 - 0.999f : 0.001f);
  }
}

TEST(Rules, ConvergeOnAQuadratic) {
  // f(w) = sum of c_i (w_i - t_i)^2 / 2, c from 1 to 10.
  const std::vector<double> target{3, -1, 0.5, 2}, curve{1, 2, 5, 10};
  struct Row {
    AnyRule rule;
    int steps;
  };
  const Row table[] = {
      {GradientDescent{.learning_rate = 0.1}, 300},
      {Momentum{.learning_rate = 0.02, .momentum = 0.9}, 400},
      {Momentum{.learning_rate = 0.02, .momentum = 0.9, .use_nesterov = true}, 400},
      {Momentum{.learning_rate = 0.02, .momentum = 0.9, .form = RuleForm::keras}, 400},
      {Momentum{.learning_rate = 0.02, .momentum = 0.9, .form = RuleForm::pytorch}, 400},
      {Adam{.learning_rate = 0.05}, 2000},
      {Adam{.learning_rate = 0.05, .form = RuleForm::keras}, 2000},
      {Adam{.learning_rate = 0.05, .form = RuleForm::pytorch}, 2000},
  };
  for (DType dtype : {DType::float32, DType::float64})
    for (const Row& row : table) {
      Variables vars({}, dtype);
      const Variable w = add_variable(vars, "w", {4}, {0, 0, 0, 0});
      auto state = row.rule.init(vars);
      Gradients g(vars);
      ThreadTeam team(1);
      for (int step = 0; step < row.steps; ++step) {
        auto at = numbers(w.read());
        for (size_t i = 0; i < 4; ++i) at[i] = curve[i] * (at[i] - target[i]);
        g.set(0, vector(at, dtype));
        apply_updates(vars, g, row.rule, state, {}, team);
      }
      const auto end = numbers(w.read());
      for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(end[i], target[i], 1e-4) << row.rule.name();
    }
}

TEST(Rules, RefuseSettingsThatMakeNoSense) {
  Variables vars;
  add_variable(vars, "w", {1}, {1});
  const AnyRule bad[] = {
      GradientDescent{.learning_rate = -0.1},
      GradientDescent{.learning_rate = kNaN},
      GradientDescent{.learning_rate = std::numeric_limits<double>::infinity()},
      Momentum{.learning_rate = -1},
      Momentum{.momentum = 1},
      Momentum{.momentum = -0.1},
      Momentum{.dampening = 0.5},
      Momentum{.use_nesterov = true, .dampening = 0.5, .form = RuleForm::pytorch},
      Adam{.learning_rate = kNaN},
      Adam{.beta1 = 1},
      Adam{.beta2 = 1.5},
      Adam{.beta2 = kNaN},
      Adam{.epsilon = -1e-8},
      Adam{.epsilon = kNaN},
  };
  for (const AnyRule& rule : bad) EXPECT_THROW((void)rule.init(vars), InvalidArgument);
  EXPECT_NO_THROW((void)AnyRule(GradientDescent{.learning_rate = 0}).init(vars));
}

TEST(Rules, AScheduleThatGoesWrongStopsBeforeAnythingChanges) {
  for (const AnyRule& rule :
       {AnyRule(GradientDescent{.learning_rate = [](int64_t t) { return t == 1 ? -1.0 : 0.5; }}),
        AnyRule(Adam{.learning_rate = [](int64_t t) { return t == 1 ? kNaN : 0.5; }})}) {
    Variables vars;
    const Variable w = add_variable(vars, "w", {1}, {1});
    auto state = rule.init(vars);
    Gradients g(vars);
    g.set(0, vector({1}));
    ThreadTeam team(1);
    apply_updates(vars, g, rule, state, {}, team);
    const auto before = numbers(w.read());
    for (int again = 0; again < 2; ++again)  // it has not counted either
      EXPECT_THROW(apply_updates(vars, g, rule, state, {}, team), InvalidArgument);
    EXPECT_EQ(numbers(w.read()), before);
  }
}

}  // namespace
}  // namespace rein
