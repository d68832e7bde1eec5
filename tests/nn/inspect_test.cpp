#include "rein/nn/inspect.h"

#include <cmath>

#include "checks.h"
#include "rein/compute/recording.h"
#include "support/error_text.h"

namespace rein::test {
namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// Rotations of pairs of units, times a factor.
Tensor rotation(int64_t units, double factor) {
  Tensor q({units, units}, DType::float64);
  auto x = q.flat<double>();
  for (int64_t u = 0; u < units; u += 2) {
    const double angle = 0.3 + static_cast<double>(u);
    const auto at = [&](int64_t i, int64_t j) -> double& {
      return x[static_cast<size_t>((u + i) * units + u + j)];
    };
    at(0, 0) = at(1, 1) = factor * std::cos(angle);
    at(0, 1) = factor * std::sin(angle);
    at(1, 0) = -at(0, 1);
  }
  return q;
}

// A linear network with an orthogonal recurrent matrix changes no length but by the factor.
TEST(Inspect, NormsByLagOfALinearCellArePowersOfItsFactor) {
  for (double factor : {0.5, 1.0, 1.3}) {
    SCOPED_TRACE(factor);
    Variables vars{Seed{1}, DType::float64};
    BasicRNNCell cell{vars, "rnn", 3, 4, {.activation = Activation::linear}};
    const Tensor q = rotation(4, factor);
    Tensor kernel = normal({7, 4}, 1);
    std::ranges::copy(q.flat<double>(), kernel.flat<double>().begin() + 12);
    vars.assign(vars.at("rnn/kernel"), kernel);
    GradientTape tape;
    const SequenceReport report = inspect(cell, tape.input(normal({12, 5, 3}, 2)));
    ASSERT_EQ(report.states.size(), 1u);
    EXPECT_EQ(report.states[0].state, "h");
    ASSERT_EQ(report.states[0].by_lag.size(), 12u);
    for (size_t lag = 0; lag < 12; ++lag) {
      const double want = std::pow(factor, static_cast<double>(lag));
      EXPECT_NEAR(report.states[0].by_lag[lag], want, 1e-13 * want)
          << lag;  // roundings of 12 steps
    }
    EXPECT_NEAR(report.states[0].factor(), factor, 1e-14);
    EXPECT_TRUE(report.gates.empty());
  }
}

// Without weights the gates are what the bias makes them, and the path along c alone is left:
// dh_T/dc_(T - lag) = o (1 - tanh(c_T)^2) f^lag.
TEST(Inspect, OfAnLstmFollowsItsForgetGate) {
  constexpr int64_t kUnits = 3, kSteps = 9;
  Variables vars{Seed{1}, DType::float64};
  BasicLSTMCell cell{vars, "lstm", 2, kUnits, {.forget_bias = 1, .kernel = zeros()}};
  const double bias[] = {3, 0.2, -0.5, -4};  // i, j, f, o
  Tensor b({4 * kUnits}, DType::float64);
  for (size_t k = 0; k < 12; ++k) b.flat<double>()[k] = bias[k / 3];
  vars.assign(vars.at("lstm/bias"), b);
  const double i = sigmoid_of(3), j = std::tanh(0.2), f = sigmoid_of(0.5), o = sigmoid_of(-4);
  double c = 0;
  for (int64_t t = 0; t < kSteps; ++t) c = c * f + i * j;

  GradientTape tape;
  const SequenceReport report = inspect(cell, tape.input(normal({kSteps, 4, 2}, 2)));
  ASSERT_EQ(report.states.size(), 2u);
  EXPECT_EQ(report.states[0].state, "c");
  EXPECT_EQ(report.states[1].state, "h");
  for (size_t lag = 0; lag < kSteps; ++lag) {
    const double want =
        o * (1 - std::tanh(c) * std::tanh(c)) * std::pow(f, static_cast<double>(lag));
    EXPECT_NEAR(report.states[0].by_lag[lag], want, 1e-14 * want) << lag;
    EXPECT_EQ(report.states[1].by_lag[lag], lag == 0 ? 1 : 0) << lag;
  }
  EXPECT_NEAR(report.states[0].factor(), f, 1e-14);

  ASSERT_EQ(report.gates.size(), 4u);
  const struct {
    const char* name;
    double mean, closed, open;
  } want[] = {{"i", i, 0, 1}, {"j", j, 0, 0}, {"f", f, 0, 0}, {"o", o, 1, 0}};
  for (size_t g = 0; g < 4; ++g) {
    EXPECT_EQ(report.gates[g].name, want[g].name);
    EXPECT_EQ(report.gates[g].is_tanh, g == 1);
    EXPECT_NEAR(report.gates[g].mean, want[g].mean, 1e-14);
    EXPECT_EQ(report.gates[g].closed, want[g].closed);
    EXPECT_EQ(report.gates[g].open, want[g].open);
  }
  EXPECT_EQ(to_string(report),
            "c: 0.00032 of the gradient after 8 steps, 0.622 times a step\n"
            "h: 0 of the gradient after 8 steps, 0 times a step\n"
            "gate i: mean 0.95, 0 % closed, 100 % open\n"
            "gate j: mean 0.2, 0 % closed, 0 % open\n"
            "gate f: mean 0.62, 0 % closed, 0 % open\n"
            "gate o: mean 0.018, 100 % closed, 0 % open\n");
}

// Any weights, one unit: the difference quotient of the last output by the state after step 1.
TEST(Inspect, OfAnLstmIsTheDerivative) {
  constexpr int64_t kSteps = 5;
  Variables vars{Seed{1}, DType::float64};
  BasicLSTMCell cell{vars, "lstm", 2, 1};
  vars.assign(vars.at("lstm/kernel"), normal({3, 4}, 3));
  const Tensor x = normal({kSteps, 1, 2}, 4);
  const Tensor start[] = {normal({1, 1}, 5), normal({1, 1}, 6)};
  // From the state after step 1, which `by` moves.
  const auto last = [&](double by_c, double by_h) {
    GradientTape tape;
    const Values rows = unstack(tape.input(x));
    CellState state{{tape.input(start[0]), tape.input(start[1])}};
    state = cell.step(rows[0], state).state;
    const Value c = state.values[0], moved = add(c, by_c);
    const Value carried = div(mul(state.values[1], tanh(moved)), tanh(c));  // c moves h too
    state = {{moved, add(carried, by_h)}};
    for (size_t t = 1; t < kSteps; ++t) state = cell.step(rows[t], state).state;
    return state.values[1].item();
  };
  GradientTape tape;
  const SequenceReport report =
      inspect(cell, tape.input(x),
              {.initial_state = CellState{{tape.input(start[0]), tape.input(start[1])}}});
  constexpr double h = 1e-5;  // wrong by h^2 = 1e-10 times a third derivative, and 1e-16 / h
  EXPECT_NEAR(report.states[0].by_lag[kSteps - 1], std::abs(last(h, 0) - last(-h, 0)) / (2 * h),
              1e-9);
  EXPECT_NEAR(report.states[1].by_lag[kSteps - 1], std::abs(last(0, h) - last(0, -h)) / (2 * h),
              1e-9);
  EXPECT_GT(report.states[1].by_lag[kSteps - 1], 1e-4);  // not lost in what is tolerated
}

TEST(Inspect, OfAStackNamesLayers) {
  Variables vars{Seed{1}};
  const MultiRNNCell cell{{std::make_shared<BasicLSTMCell>(vars, "a", 2, 3),
                           std::make_shared<BasicRNNCell>(vars, "b", 3, 2)}};
  GradientTape tape;
  const SequenceReport report =
      inspect(cell, tape.input(normal({4, 2, 2}, 1).cast(DType::float32)));
  ASSERT_EQ(report.states.size(), 3u);
  EXPECT_EQ(report.states[0].state, "cell_0/c");
  EXPECT_EQ(report.states[2].state, "cell_1/h");
  EXPECT_FLOAT_EQ(static_cast<float>(report.states[2].by_lag[0]), 1);
  EXPECT_GT(report.states[0].by_lag[3], 0);
  ASSERT_EQ(report.gates.size(), 4u);
  EXPECT_EQ(report.gates[0].name, "cell_0/i");
}

// Not 0, which would be a gradient that vanishes.
TEST(Inspect, OfWhatIsNotFiniteIsNotFinite) {
  Variables vars{Seed{1}};
  const BasicLSTMCell cell{vars, "lstm", 2, 3};
  Tensor kernel = vars.at("lstm/kernel").read().clone();
  kernel.flat<float>()[0] = std::nanf("");
  vars.assign(vars.at("lstm/kernel"), kernel);
  GradientTape tape;
  const SequenceReport report =
      inspect(cell, tape.input(normal({4, 2, 2}, 1).cast(DType::float32)));
  EXPECT_TRUE(std::isnan(report.states[0].by_lag[3]));
  EXPECT_TRUE(std::isnan(report.gates[0].mean));
  EXPECT_TRUE(std::isnan(report.gates[0].closed));
  EXPECT_TRUE(std::isnan(report.gates[0].open));
}

TEST(Inspect, RefusesWhatItCannotRun) {
  Variables vars{Seed{1}};
  BasicRNNCell cell{vars, "rnn", 3, 4};
  GradientTape tape;
  EXPECT_THROW(inspect(cell, tape.input(Tensor({2, 3}))), InvalidArgument);
  EXPECT_THROW(inspect(cell, tape.input(Tensor({2, 1, 5}))), InvalidArgument);
  EXPECT_THROW(inspect(cell, tape.input(Tensor({2, 0, 3}))), InvalidArgument);
  Graph recording({.eager = false});
  EXPECT_THROW(inspect(cell, recording.input(Spec{{2, 1, 3}, DType::float32})), InvalidArgument);
}

}  // namespace
}  // namespace rein::test
