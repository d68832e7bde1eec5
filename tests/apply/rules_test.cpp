// Each rule against its formula, written out in double.
#include "rein/apply/rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "process/numbers.h"
#include "rein/apply/apply.h"

namespace rein {
namespace {

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

TEST(MomentumRule, MayFollowTheStep) {
  const auto momentum_at = [](int64_t step) { return step < 2 ? 0.5 : 0.9; };
  double w = 1, a = 0;
  std::vector<double> want;
  for (size_t t = 0; t < kGradients.size(); ++t) {
    a = momentum_at(static_cast<int64_t>(t)) * a + kGradients[t];
    want.push_back(w -= 0.1 * a);
  }
  expect_path(path(Momentum{.learning_rate = 0.1, .momentum = momentum_at}, kGradients), want);
}

TEST(AdamRule, Beta1MayFollowTheStep) {
  for (RuleForm form : {RuleForm::tensorflow, RuleForm::keras, RuleForm::pytorch}) {
    double w = 1, m = 0, v = 0, product = 1;
    std::vector<double> want;
    for (size_t k = 0; k < kGradients.size(); ++k) {
      const double b1 = k < 2 ? 0.5 : 0.9, g = kGradients[k], t = static_cast<double>(k + 1);
      m = b1 * m + (1 - b1) * g;
      v = 0.95 * v + 0.05 * g * g;
      product *= b1;
      const double left = form == RuleForm::tensorflow ? product : std::pow(b1, t);
      const double c2 = std::sqrt(1 - std::pow(0.95, t));
      w -= 0.1 / (1 - left) * m /
           (form == RuleForm::pytorch ? std::sqrt(v) / c2 + 1e-3 : (std::sqrt(v) + 1e-3) / c2);
      want.push_back(w);
    }
    const Adam rule{.learning_rate = 0.1,
                    .beta1 = [](int64_t step) { return step < 2 ? 0.5 : 0.9; },
                    .beta2 = 0.95,
                    .epsilon = 1e-3,
                    .form = form};
    expect_path(path(rule, kGradients), want);
  }
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

TEST(FtrlRule, SetsWeightsTo0WhileNothingHasMoved) {
  for (DType dtype : {DType::float32, DType::float64})
    for (double power : {-0.5, -0.4}) {
      const Ftrl rule{.learning_rate_power = power, .initial_accumulator = 0};
      const auto w = path(rule, {0, 0, std::nan("")}, dtype);
      EXPECT_EQ(w[0], 0) << power;
      EXPECT_EQ(w[1], 0) << power;
      EXPECT_TRUE(std::isnan(w[2])) << power;
    }
}

TEST(LarsRule, FollowsTheFormulaOfThePaper) {
  // Two weights: the length of a variable counts.
  for (bool nesterov : {false, true}) {
    const Lars rule{.learning_rate = rate_at,
                    .momentum = 0.8,
                    .use_nesterov = nesterov,
                    .weight_decay = 0.2,
                    .trust_coefficient = 0.3,
                    .epsilon = 1e-3};
    const AnyRule any = rule;
    Variables vars({}, DType::float64);
    const Variable variable = add_variable(vars, "w", {2}, {1, -2});
    auto state = any.init(vars);
    Gradients gradients(vars);
    ThreadTeam team(1);
    double w[] = {1, -2}, a[] = {0, 0};
    for (size_t t = 0; t < kGradients.size(); ++t) {
      const double g[] = {kGradients[t], 1 - kGradients[t]};
      const double w_norm = std::hypot(w[0], w[1]);
      const double ratio = 0.3 * w_norm / (std::hypot(g[0], g[1]) + 0.2 * w_norm + 1e-3);
      for (size_t i = 0; i < 2; ++i) {
        const double r = g[i] + 0.2 * w[i];
        a[i] = 0.8 * a[i] + r;
        w[i] -= rate_at(static_cast<int64_t>(t)) * ratio * (nesterov ? r + 0.8 * a[i] : a[i]);
      }
      gradients.set(0, vector({g[0], g[1]}, DType::float64));
      apply_updates(vars, gradients, any, state, {}, team);
      expect_path(numbers(variable.read()), {w[0], w[1]});
    }
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

}  // namespace
}  // namespace rein
