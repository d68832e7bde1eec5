#include "rein/nn/cell.h"

#include <cmath>

#include "checks.h"

namespace rein::test {
namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// [x, h] kernel + bias of one example, in plain loops.
std::vector<double> affine_of(const std::vector<double>& xh, Variables& vars,
                              const std::string& name) {
  const Tensor kernel = vars.at(name + "/kernel").read(), bias = vars.at(name + "/bias").read();
  const auto w = kernel.flat<double>();
  std::vector<double> y(bias.flat<double>().begin(), bias.flat<double>().end());
  for (size_t i = 0; i < xh.size(); ++i)
    for (size_t k = 0; k < y.size(); ++k) y[k] += xh[i] * w[i * y.size() + k];
  return y;
}

std::vector<double> row_of(const Tensor& t, int64_t row) {
  const auto x = t.flat<double>();
  const int64_t n = t.shape().back();
  return {x.begin() + row * n, x.begin() + (row + 1) * n};
}

// A bias of zeros would hide where it goes.
void randomize(Variables& vars) {
  for (size_t i = 0; i < vars.size(); ++i)
    vars.assign(vars[i], normal(vars[i].shape(), 100 + i, 0.7));
}

TEST(BasicLSTMCell, IsTensorFlowsFormula) {
  Variables vars{Seed{1}, DType::float64};
  const int64_t input = 3, units = 2, batch = 2;
  BasicLSTMCell cell{vars, "lstm", input, units, {.forget_bias = 0.6}};
  EXPECT_EQ(vars.at("lstm/kernel").shape(), (Shape{5, 8}));
  EXPECT_EQ(vars.at("lstm/bias").shape(), (Shape{8}));
  randomize(vars);
  const Tensor x = normal({batch, input}, 1), c = normal({batch, units}, 2),
               h = normal({batch, units}, 3);
  GradientTape tape;
  const auto [output, state] = cell.step(tape.input(x), {{tape.input(c), tape.input(h)}});

  for (int64_t b = 0; b < batch; ++b) {
    auto xh = row_of(x, b);
    for (double v : row_of(h, b)) xh.push_back(v);
    const auto gates = affine_of(xh, vars, "lstm");  // i, j, f, o
    for (size_t k = 0; k < 2; ++k) {
      const double new_c = row_of(c, b)[k] * sigmoid_of(gates[4 + k] + 0.6) +
                           sigmoid_of(gates[k]) * std::tanh(gates[2 + k]);
      const double new_h = std::tanh(new_c) * sigmoid_of(gates[6 + k]);
      EXPECT_NEAR(row_of(state.values[0].tensor(), b)[k], new_c, 1e-14);
      EXPECT_NEAR(row_of(state.values[1].tensor(), b)[k], new_h, 1e-14);
      EXPECT_NEAR(row_of(output.tensor(), b)[k], new_h, 1e-14);
    }
  }
}

TEST(BasicLSTMCell, WithAnotherActivationGoesStepByStep) {
  Variables vars{Seed{1}, DType::float64};
  BasicLSTMCell cell{vars, "lstm", 3, 2, {.forget_bias = 0, .activation = Activation::relu}};
  EXPECT_FALSE(cell.is_fused());
  randomize(vars);
  GradientTape tape;
  const Tensor x = normal({1, 3}, 1), c = normal({1, 2}, 2), h = normal({1, 2}, 3);
  const CellState first{{tape.input(c), tape.input(h)}};
  const auto [output, state] = cell.step(tape.input(x), first);
  auto xh = row_of(x, 0);
  for (double v : row_of(h, 0)) xh.push_back(v);
  const auto gates = affine_of(xh, vars, "lstm");
  for (size_t k = 0; k < 2; ++k) {
    const double new_c = row_of(c, 0)[k] * sigmoid_of(gates[4 + k]) +
                         sigmoid_of(gates[k]) * std::max(gates[2 + k], 0.0);
    EXPECT_NEAR(row_of(output.tensor(), 0)[k], std::max(new_c, 0.0) * sigmoid_of(gates[6 + k]),
                1e-14);
  }
  const auto whole = cell.sequence(tape.input(x.reshaped({1, 1, 3})), first);
  expect_near(whole.last.tensor(), output.tensor(), 0);
}

TEST(BasicLSTMCell, StartsWithGlorotAndZeros) {
  Variables vars{Seed{1}};
  BasicLSTMCell cell{vars, "lstm", 10, 20};
  const double limit = std::sqrt(6.0 / (30 + 80));
  const Tensor kernel = vars.at("lstm/kernel").read(), bias = vars.at("lstm/bias").read();
  double largest = 0;
  for (float w : kernel.flat<float>()) largest = std::max(largest, std::abs(double{w}));
  EXPECT_LE(largest, limit);
  EXPECT_GT(largest, 0.98 * limit);
  for (float b : bias.flat<float>()) EXPECT_EQ(b, 0);
}

TEST(BasicRNNCell, IsItsFormula) {
  Variables vars{Seed{1}, DType::float64};
  BasicRNNCell cell{vars, "rnn", 3, 2};
  randomize(vars);
  const Tensor x = normal({2, 3}, 1), h = normal({2, 2}, 2);
  GradientTape tape;
  const auto [output, state] = cell.step(tape.input(x), {{tape.input(h)}});
  for (int64_t b = 0; b < 2; ++b) {
    auto xh = row_of(x, b);
    for (double v : row_of(h, b)) xh.push_back(v);
    const auto a = affine_of(xh, vars, "rnn");
    for (size_t k = 0; k < 2; ++k) {
      EXPECT_NEAR(row_of(output.tensor(), b)[k], std::tanh(a[k]), 1e-14);
      EXPECT_NEAR(row_of(state.values[0].tensor(), b)[k], std::tanh(a[k]), 1e-14);
    }
  }
}

TEST(BasicRNNCell, TakesEachActivation) {
  struct {
    Activation activation;
    double (*function)(double);
  } const rows[] = {{Activation::tanh, [](double x) { return std::tanh(x); }},
                    {Activation::relu, [](double x) { return std::max(x, 0.0); }},
                    {Activation::sigmoid, sigmoid_of},
                    {Activation::linear, [](double x) { return x; }}};
  for (const auto& row : rows) {
    Variables vars{Seed{1}, DType::float64};
    BasicRNNCell cell{vars, "rnn", 3, 2, {.activation = row.activation}};
    randomize(vars);
    const Tensor x = normal({1, 3}, 1);
    GradientTape tape;
    const Value in = tape.input(x);
    const auto [output, state] = cell.step(in, cell.zero_state(in));
    auto xh = row_of(x, 0);
    xh.insert(xh.end(), 2, 0.0);
    const auto a = affine_of(xh, vars, "rnn");
    for (size_t k = 0; k < 2; ++k)
      EXPECT_NEAR(row_of(output.tensor(), 0)[k], row.function(a[k]), 1e-14);
  }
}

TEST(MultiRNNCell, FeedsEachCellWithTheOneBelow) {
  Variables vars{Seed{1}, DType::float64};
  auto low = std::make_shared<BasicLSTMCell>(vars, "low", 3, 4);
  auto high = std::make_shared<BasicRNNCell>(vars, "high", 4, 2);
  const MultiRNNCell both{{low, high}};
  randomize(vars);
  EXPECT_EQ(both.output_size(), 2);
  EXPECT_EQ(both.state_names(), (std::vector<std::string>{"cell_0/c", "cell_0/h", "cell_1/h"}));
  EXPECT_EQ(both.state_sizes(), (std::vector<int64_t>{4, 4, 2}));

  GradientTape tape;
  const Value x = tape.input(normal({5, 3}, 1)), c = tape.input(normal({5, 4}, 2)),
              h = tape.input(normal({5, 4}, 3)), g = tape.input(normal({5, 2}, 4));
  const auto got = both.step(x, {{c, h, g}});
  const auto first = low->step(x, {{c, h}});
  const auto second = high->step(first.output, {{g}});
  expect_near(got.output.tensor(), second.output.tensor(), 0);
  ASSERT_EQ(got.state.values.size(), 3u);
  expect_near(got.state.values[0].tensor(), first.state.values[0].tensor(), 0);
  expect_near(got.state.values[1].tensor(), first.state.values[1].tensor(), 0);
  expect_near(got.state.values[2].tensor(), second.state.values[0].tensor(), 0);
}

TEST(RNNCell, ZeroStateIsZerosOfTheBatchAndItsType) {
  Variables vars{Seed{1}, DType::float64};
  const BasicLSTMCell cell{vars, "lstm", 3, 2};
  GradientTape tape;
  const CellState state = cell.zero_state(tape.input(normal({5, 3}, 1)));
  ASSERT_EQ(state.values.size(), 2u);
  for (const Value& v : state.values) expect_near(v.tensor(), Tensor({5, 2}, DType::float64), 0);
}

// The loss of outputs and states against fixed weights.
Value weighted(const Values& values) {
  Value sum = reduce_sum(values[0] * values[0].graph().constant(normal(values[0].shape(), 50)));
  for (size_t i = 1; i < values.size(); ++i)
    sum =
        sum + reduce_sum(values[i] * values[i].graph().constant(normal(values[i].shape(), 50 + i)));
  return sum;
}

TEST(Cells, GradientsAreDerivatives) {
  Variables vars{Seed{1}, DType::float64};
  auto low = std::make_shared<BasicLSTMCell>(vars, "low", 3, 2);
  auto high = std::make_shared<BasicRNNCell>(vars, "high", 2, 3);
  const MultiRNNCell cell{{low, high}};
  randomize(vars);
  expect_gradients(
      [&](std::span<const Value> in) {
        auto [output, state] = cell.step(in[0], {{in[1], in[2], in[3]}});
        return weighted({output, state.values[0], state.values[1], state.values[2]});
      },
      {normal({2, 3}, 1), normal({2, 2}, 2), normal({2, 2}, 3), normal({2, 3}, 4)}, &vars);
}

TEST(Cells, WrongShapesNameTheCellAndBoth) {
  Variables vars;
  auto lstm = std::make_shared<BasicLSTMCell>(vars, "rnn", 28, 16);
  auto basic = std::make_shared<BasicRNNCell>(vars, "top", 16, 8);
  const MultiRNNCell stack{{lstm, basic}};
  GradientTape tape;
  const Value x = tape.input(Tensor({4, 27})), good = tape.input(Tensor({4, 28})),
              wrong = tape.input(Tensor({3, 16})), h = tape.input(Tensor({4, 16}));
  expect_error([&] { lstm->step(x, lstm->zero_state(x)); },
               {"BasicLSTMCell", "rnn/kernel", "[batch, 28]", "[4, 27]", "cell_test.cpp"});
  expect_error([&] { basic->step(x, basic->zero_state(x)); },
               {"BasicRNNCell", "top/kernel", "[batch, 16]", "[4, 27]"});
  expect_error([&] { lstm->step(good, {{h}}); }, {"BasicLSTMCell", "2 values (c, h)", "got 1"});
  expect_error(
      [&] {
        lstm->step(good, {{h, wrong}});
      },
      {"BasicLSTMCell", "'h'", "[4, 16]", "[3, 16]"});
  expect_error(
      [&] {
        stack.step(good, {{h, h, h}});
      },
      {"MultiRNNCell", "'cell_1/h'", "[4, 8]", "[4, 16]"});
  expect_error(
      [&] {
        lstm->sequence(good, {{h, h}});
      },
      {"BasicLSTMCell", "[steps, batch, 28]", "[4, 28]"});
  expect_error([] { MultiRNNCell{{}}; }, {"MultiRNNCell", "no cells"});
  expect_error([] { MultiRNNCell{{nullptr}}; }, {"MultiRNNCell", "null"});
}

}  // namespace
}  // namespace rein::test
