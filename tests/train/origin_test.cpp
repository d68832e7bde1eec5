// A number that is not finite, made at one place of a two-layer LSTM, is named by that place.
#include "rein/compute/origin.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "process/numbers.h"
#include "rein/rein.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int64_t kSteps = 28, kBatch = 7, kStep = 17, kExample = 5;

// x has two numbers a step: +1 and 1, but -1 and 0 at the one place. Layer 0 forgets at once and
// passes them on as +-tanh(1) and tanh(tanh(1)) or 0. Layer 1 counts: its cell grows by 1 a step.
struct Arithmetic {
  DType type;
  ProductOptions products{};
};
class TwoLayers : public testing::TestWithParam<Arithmetic> {
 protected:
  TwoLayers() {
    // Times 1.1 it is past the largest number.
    const double large = type_ == DType::float32 ? 3.4e38 : 1.79e308;
    BasicLSTMCell first(vars, "rnn_0", 2, 2), second(vars, "rnn_1", 2, 1);
    cells = std::make_unique<MultiRNNCell>(std::vector<std::shared_ptr<const RNNCell>>{
        std::make_shared<BasicLSTMCell>(first), std::make_shared<BasicLSTMCell>(second)});
    for (const char* name : {"rnn_0/kernel", "rnn_1/kernel", "rnn_0/bias", "rnn_1/bias"})
      vars.assign(vars.at(name), Tensor(vars.at(name).spec()));
    // Columns i0 i1, j0 j1, f0 f1, o0 o1; rows x0, x1, h0, h1. The forget bias adds 1 to f.
    std::vector<double> kernel(4 * 8);
    kernel[0 * 8 + 2] = 20;  // x0 -> j0
    kernel[1 * 8 + 3] = 1;   // x1 -> j1
    set("rnn_0/kernel", kernel);
    set("rnn_0/bias", {20, 20, 0, 0, -1000, -1000, 20, 20});
    const double seen = std::tanh(1.0);
    second_kernel[1] = 20 / seen;      // h0 -> j: +20, or -20 at the place
    second_kernel[2] = 11.225 / seen;  // f: +20, or -2.45
    set("rnn_1/kernel", second_kernel);
    set("rnn_1/bias", {20, 0, 8.775 - 1, 20});

    for (int64_t t = 0; t < kSteps; ++t)
      for (int64_t b = 0; b < kBatch; ++b) {
        const bool here = t == kStep && b == kExample;
        x.insert(x.end(), {here ? -1.0 : 1.0, here ? 0.0 : 1.0});
        upstream.push_back(here ? large : 0);
      }
  }
  void set(const char* name, const std::vector<double>& value) {
    vars.assign(vars.at(name), tensor(vars.at(name).shape(), value, type_));
  }
  std::vector<Tensor> inputs(const std::vector<double>& in, const std::vector<double>& up) const {
    return {tensor({kSteps, kBatch, 2}, in, type_), tensor({kSteps, kBatch, 1}, up, type_)};
  }

  Step step() {
    const auto cost = [this](Value in, Value up) {
      const Value zero0 = in.graph().constant(Tensor({kBatch, 2}, type_));
      const Value zero1 = in.graph().constant(Tensor({kBatch, 1}, type_));
      return reduce_sum(cells->sequence(in, {{zero0, zero0, zero1, zero1}}).outputs * up);
    };
    return record(cost, vars, chain(), GradientDescent{});
  }

  const DType type_ = GetParam().type;
  Variables vars{Seed{}, type_};
  std::unique_ptr<MultiRNNCell> cells;
  std::vector<double> x, upstream;  // [kSteps, kBatch, 2], [kSteps, kBatch, 1]
  const std::vector<double> none = std::vector<double>(kSteps * kBatch);
  std::vector<double> second_kernel = std::vector<double>(3 * 4);  // rows h0, h1 of layer 0, h
};
INSTANTIATE_TEST_SUITE_P(Arithmetics, TwoLayers,
                         testing::Values(Arithmetic{DType::float32}, Arithmetic{DType::float64},
                                         Arithmetic{DType::float32, {Precision::bf16, true}},
                                         Arithmetic{DType::float32, {Precision::bf16x3, true}}),
                         [](const auto& a) {
                           return std::string(to_string(a.param.type)) +
                                  std::string(to_string(a.param.products.precision));
                         });

void expect_place(const NonFiniteOrigin& origin, const char* gate) {
  EXPECT_EQ(origin.layer, "rnn_1");
  EXPECT_TRUE(origin.in_sequence);
  EXPECT_EQ(origin.place.gate, gate);
  EXPECT_EQ(origin.place.step, kStep);
  EXPECT_EQ(origin.place.example, kExample);
  EXPECT_EQ(origin.place.unit, 0);
}

TEST_P(TwoLayers, AFiniteBatchHasNoOrigin) {
  EXPECT_FALSE(step().find_non_finite(inputs(x, none)));
}

TEST_P(TwoLayers, ForwardIsNamedByLayerGateStepAndExample) {
  second_kernel[1 * 4 + 2] = kInf;  // h1 of layer 0 -> f: infinity times 0 is NaN
  set("rnn_1/kernel", second_kernel);
  const auto origin = step().find_non_finite(inputs(x, none));
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->pass, NonFiniteOrigin::Pass::forward);
  EXPECT_EQ(origin->op, "lstm");
  expect_place(*origin, "f");
  EXPECT_EQ(origin->bad_variables, std::vector<std::string>{"rnn_1/kernel"});
  EXPECT_NE(origin->text().find("gate f is not finite at time step 17, example 5, unit 0"),
            std::string::npos)
      << origin->text();
}

// dz of f is dh o (1 - tanh(c)^2) c_before f (1 - f) = dh times 1.1.
TEST_P(TwoLayers, BackwardIsNamedByLayerGateStepAndExample) {
  const auto origin = step().find_non_finite(inputs(x, upstream));
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->pass, NonFiniteOrigin::Pass::backward);
  EXPECT_EQ(origin->op, "lstm_grad");
  expect_place(*origin, "f");
  EXPECT_TRUE(origin->bad_variables.empty());
}

TEST_P(TwoLayers, InputsAndOtherOpsAreNamedToo) {
  Step train = step();
  x[(3 * kBatch + 2) * 2 + 1] = kInf;
  const auto input = train.find_non_finite(inputs(x, upstream));
  ASSERT_TRUE(input);
  EXPECT_EQ(input->pass, NonFiniteOrigin::Pass::input);
  EXPECT_EQ(input->text(),
            "input 0 (" + std::string(to_string(type_)) + " [28, 7, 2]) is inf at [3, 2, 1]");

  Variables other;
  const Variable w = other.add("w", {2}, constant(3e38));
  const int line = __LINE__ + 1;
  const auto cost = [&](Value in) { return reduce_sum(mul(w, in)); };
  Step product = record(cost, other, chain(), GradientDescent{});
  const Tensor factors[] = {Tensor::of<float>({2}, {1, 10})};
  const auto op = product.find_non_finite(factors);
  ASSERT_TRUE(op);
  EXPECT_EQ(op->op, "mul");
  EXPECT_EQ(op->layer, "w");
  EXPECT_EQ(op->where.line, line);
  EXPECT_EQ(op->index, std::vector<int64_t>{1});
  EXPECT_EQ(op->value, kInf);
}

// The derivative of sqrt at 0 is a division, which nobody wrote.
TEST(Origin, OfAGradientNamesTheOpOfTheProgram) {
  Variables vars;
  const Variable w = vars.add("w", {2}, zeros());
  const int line = __LINE__ + 1;
  const auto cost = [&](Value in) { return reduce_sum(sqrt(in * w)); };
  Step step = record(cost, vars, chain(), GradientDescent{});
  const Tensor input[] = {Tensor::of<float>({2}, {1, 10})};
  const auto origin = step.find_non_finite(input);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->pass, NonFiniteOrigin::Pass::backward);
  EXPECT_EQ(origin->op, "div");
  EXPECT_EQ(origin->gradient_of, "sqrt");
  EXPECT_EQ(origin->where.line, line);
  EXPECT_EQ(origin->text().find("backward, op div in the gradient of sqrt ("), 0u)
      << origin->text();
}

// Each use of it has a gradient that is finite.
TEST(Origin, OfASumOfGradientsNamesTheVariable) {
  Variables vars;
  const Variable w = vars.add("layer/w", {1}, zeros());
  const auto cost = [&](Value in) { return reduce_sum(in * w) + reduce_sum(in * w); };
  Step step = record(cost, vars, chain(), GradientDescent{});
  const Tensor input[] = {Tensor::of<float>({1}, {3e38F})};
  const auto origin = step.find_non_finite(input);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->op, "add");
  EXPECT_EQ(origin->gradient_of, "'layer/w'");
  EXPECT_EQ(origin->layer, "layer");
  EXPECT_EQ(origin->text().find("backward, op add of layer 'layer' in the gradient of 'layer/w'"),
            0u)
      << origin->text();
}

}  // namespace
}  // namespace rein
