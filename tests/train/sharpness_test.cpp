// Sharpness-aware minimization: the gradient that is applied is that of another place.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

// loss = sum(a^4) / 4 + sum(b[ids]^4) / 4, so that the gradients are cubes.
struct Quartic {
  Variables vars{{}, DType::float64};
  Variable a = add_variable(vars, "a", {3}, {1, -0.5, 0.25});
  Variable b = add_variable(vars, "b", {3, 1}, {0.5, 2, -1});
  Tensor one = tensor({1}, {1}, DType::float64);
  Tensor ids = Tensor::of<int64_t>({2}, {2, 0});

  auto cost() const {
    return [this](Value size, Value rows) -> Values {
      const Value fourth = reduce_sum(square(square(size * a)));
      const Value loss = (fourth + reduce_sum(square(square(gather(b, rows))))) / 4.0;
      return {loss, loss * 2.0};
    };
  }
};

// All numbers that have a gradient: a, then rows 0 and 2 of b.
std::vector<double> moving(Quartic& model) {
  auto w = numbers(model.a.read());
  const auto b = numbers(model.b.read());
  w.insert(w.end(), {b[0], b[2]});
  return w;
}

TEST(SharpnessOfAStep, FollowsItsFormula) {
  for (const Sharpness& sharpness : {Sharpness{.rho = 0.2}, Sharpness{.rho = 0.2, .adaptive = true},
                                     Sharpness{.rho = 0.2, .adaptive = true, .eta = 0.1}}) {
    const auto t_of = [&](double v) {
      return sharpness.adaptive ? std::abs(v) + sharpness.eta : 1;
    };
    Quartic model;
    Step step = record(model.cost(), model.vars, chain(), GradientDescent{.learning_rate = 0.1},
                       {.sharpness = sharpness});
    auto w = moving(model);
    for (int t = 0; t < 4; ++t) {
      double square = 0, loss = 0;
      for (double v : w) {
        square += std::pow(std::pow(v, 3) * t_of(v), 2);
        loss += std::pow(v, 4) / 4;
      }
      for (double& v : w) {
        const double e = 0.2 * std::pow(v, 3) * std::pow(t_of(v), 2) / std::sqrt(square);
        v -= 0.1 * std::pow(v + e, 3);
      }
      EXPECT_NEAR(step(model.one, model.ids).loss, loss, 1e-14);  // of the first gradient's place
      EXPECT_NEAR(step.metric(0).item(), 2 * loss, 1e-14);
      const auto got = moving(model);
      for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(got[i], w[i], 1e-14) << i;
      EXPECT_EQ(numbers(model.b.read())[1], 2);  // a row without a gradient
    }
  }
}

TEST(SharpnessOfAStep, TransformsSeeTheSecondGradientOnceAndTheOwnParameters) {
  SmallModel model;
  int calls = 0;
  std::vector<std::vector<double>> before = model.weights(), plain = model.gradients(), seen;
  const auto look = [&](Gradients& gradients, const Variables&, StepInfo&) {
    ++calls;
    EXPECT_EQ(model.weights(), before);
    seen.clear();
    for (size_t i = 0; i < gradients.size(); ++i) {
      const Gradient g = gradients.get(i);
      seen.push_back(g ? numbers(g) : std::vector<double>());
    }
  };
  Step step = record(model.cost(), model.vars, look, Adam{}, {.sharpness = Sharpness{.rho = 1}});
  step(model.x, model.y, model.ids);
  EXPECT_EQ(calls, 1);
  EXPECT_NE(seen[0], plain[0]);
  before = model.weights();
  step(model.x, model.y, model.ids);
  EXPECT_EQ(calls, 2);
}

TEST(SharpnessOfAStep, WithoutADirectionItIsAPlainStep) {
  // Everything is 0: no length to divide by.
  const auto course = [](StepOptions options, double start) {
    Variables vars;
    const Variable w = add_variable(vars, "w", {2}, {start, -start});
    const auto cost = [&](Value x) { return reduce_sum(square(x * w)); };
    Step step = record(cost, vars, chain(CheckFinite{}), GradientDescent{}, options);
    const float inf = std::numeric_limits<float>::infinity();
    const StepInfo info = step(Tensor::of<float>({2}, {1, start == 0 ? 1 : inf}));
    EXPECT_EQ(info.skip, start != 0);
    return numbers(w.read());
  };
  for (bool adaptive : {false, true}) {
    const StepOptions options{.sharpness = Sharpness{.adaptive = adaptive}};
    EXPECT_EQ(course(options, 0), course({}, 0));
    EXPECT_EQ(course(options, 3), (std::vector<double>{3, -3}));
  }
}

TEST(SharpnessOfAStep, IsSavedAsASettingAndChecked) {
  SmallModel model, other;
  Step step = record(model.cost(), model.vars, chain(), Adam{}, {.sharpness = Sharpness{}});
  step(model.x, model.y, model.ids);
  Step plain = record(other.cost(), other.vars, chain(), Adam{});
  EXPECT_NE(test::error_of([&] { plain.load_state(step.state()); }).find("settings/sharpness/rho"),
            std::string::npos);
  EXPECT_EQ(test::error_of([&] {
              record(model.cost(), model.vars, chain(), Adam{},
                     {.sharpness = Sharpness{.rho = -1}});
            }),
            "record: sharpness.rho must be a finite number from 0 on, got -1");
  EXPECT_EQ(test::error_of([&] {
              record(model.cost(), model.vars, chain(), Adam{},
                     {.sharpness = Sharpness{.eta = -1}});
            }),
            "record: sharpness.eta must be a finite number from 0 on, got -1");
}

TEST(SharpnessOfAStep, NumbersThatAreNotFiniteAreSoughtAtBothPlaces) {
  for (const double start : {80.0, 100.0}) {  // exp(100) is no float
    Variables vars;
    const Variable w = add_variable(vars, "w", {2}, {start, 1});
    Step step = record([&](Value x) { return reduce_sum(exp(x * w)); }, vars, chain(CheckFinite{}),
                       GradientDescent{}, {.sharpness = Sharpness{.rho = 20}});
    const Tensor one = vector({1, 1});
    EXPECT_TRUE(step(one).skip);
    const auto origin = step.find_non_finite(std::span(&one, 1));
    ASSERT_TRUE(origin);
    EXPECT_EQ(origin->op, "exp");
    EXPECT_EQ(numbers(w.read()), (std::vector<double>{start, 1}));
  }
}

TEST(SharpnessOfAStep, AMetricThatIsNotThereIsAnErrorThatSaysSo) {
  for (const bool sharp : {false, true}) {
    Quartic model;
    StepOptions options;
    if (sharp) options.sharpness = Sharpness{};
    Step step = record(model.cost(), model.vars, chain(), Adam{}, options);
    EXPECT_EQ(test::error_of([&] { step.metric(0); }),
              "Step::metric: there is no metric 0, the cost has returned 0 after the loss; run a "
              "step first");
    step(model.one, model.ids);
    EXPECT_EQ(test::error_of([&] { step.metric(1); }),
              "Step::metric: there is no metric 1, the cost has returned 1 after the loss");
  }
}

}  // namespace
}  // namespace rein
