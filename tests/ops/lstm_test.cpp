// The fused LSTM against the same network built of its steps.
#include <gtest/gtest.h>

#include <cmath>

#include "rein/compute/ops.h"
#include "rein/compute/tape.h"

namespace rein {
namespace {

constexpr int64_t kSteps = 6, kBatch = 5, kInputs = 3, kUnits = 7;

Tensor draw(const Spec& spec, uint64_t stream) {
  const RandomStream random(Seed{2}, stream);
  Tensor t(spec.shape, DType::float64);
  auto x = t.flat<double>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.normal(i));
  return t.cast(spec.dtype);
}

// x, kernel, bias, h, c
Values inputs(GradientTape& tape, DType type) {
  const Shape shapes[] = {{kSteps, kBatch, kInputs},
                          {kInputs + kUnits, 4 * kUnits},
                          {4 * kUnits},
                          {kBatch, kUnits},
                          {kBatch, kUnits}};
  Values in;
  for (const Shape& s : shapes) in.push_back(tape.input(draw({s, type}, in.size())));
  return in;
}

LstmResult by_steps(const Values& in, double forget_bias) {
  Value h = in[3], c = in[4];
  Values outputs;
  for (Value x : unstack(in[0])) {
    const Value both[] = {x, h};
    const Values gates = split(matmul(concat(both, {.axis = 1}), in[1]) + in[2], 4, {.axis = 1});
    c = c * sigmoid(gates[2] + forget_bias) + sigmoid(gates[0]) * tanh(gates[1]);
    h = tanh(c) * sigmoid(gates[3]);
    outputs.push_back(h);
  }
  return {stack(outputs), h, c};
}

// All three results and all five gradients of a loss that weighs every one of them.
std::vector<Tensor> everything(const LstmResult& r, const Values& in) {
  const DType type = in[0].dtype();
  const Value loss = reduce_sum(r.outputs * draw({r.outputs.shape(), type}, 20)) +
                     reduce_sum(r.h * draw({r.h.shape(), type}, 21)) +
                     reduce_sum(r.c * draw({r.c.shape(), type}, 22));
  std::vector<Tensor> all;
  for (const Value& v : {r.outputs, r.h, r.c}) all.push_back(v.tensor());
  for (const Value& v : gradients(loss, in)) all.push_back(v.tensor());
  return all;
}

// Largest difference over the largest number.
double difference(const Tensor& a, const Tensor& b) {
  const Tensor x = a.cast(DType::float64), y = b.cast(DType::float64);
  double worst = 0, size = 0;
  for (size_t i = 0; i < x.flat<double>().size(); ++i) {
    worst = std::max(worst, std::abs(x.flat<double>()[i] - y.flat<double>()[i]));
    size = std::max(size, std::abs(y.flat<double>()[i]));
  }
  return worst / size;
}

class FusedLstm : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, FusedLstm, testing::Values(DType::float32, DType::float64),
                         [](const auto& row) { return std::string(to_string(row.param)); });

TEST_P(FusedLstm, EqualsItsStepsInResultsAndGradients) {
  GradientTape fused_tape, steps_tape;
  const Values a = inputs(fused_tape, GetParam()), b = inputs(steps_tape, GetParam());
  const auto fused = everything(lstm(a[0], a[1], a[2], a[3], a[4], {.forget_bias = 0.75}), a);
  const auto steps = everything(by_steps(b, 0.75), b);
  ASSERT_EQ(fused.size(), steps.size());
  // Roundings of six steps: a few dozen epsilons.
  const double epsilon = GetParam() == DType::float32 ? 0x1p-23 : 0x1p-52;
  for (size_t i = 0; i < fused.size(); ++i)
    EXPECT_LE(difference(fused[i], steps[i]), 64 * epsilon) << "result " << i;
}

TEST(LstmErrors, NameTheOpTheShapesAndTheReason) {
  GradientTape tape;
  const Values in = inputs(tape, DType::float32);
  const auto message = [&](Value x, Value kernel, Value bias, Value h, Value c) -> std::string {
    try {
      lstm(x, kernel, bias, h, c);
    } catch (const InvalidArgument& e) {
      return e.what();
    }
    return "no error";
  };
  const auto expect = [&](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_EQ(text.rfind("lstm: ", 0), 0u) << text;
  };
  expect(message(in[3], in[1], in[2], in[3], in[4]), "x is [steps, batch, inputs]");
  expect(message(in[0], in[1], in[2], in[3], in[2]), "h and c are [batch, units]");
  expect(message(in[0], in[1], in[1], in[3], in[4]), "the bias is [4 units]");
  expect(message(in[0], in[0], in[2], in[3], in[4]), "the kernel is [inputs + units, 4 units]");
  const Value no_steps = tape.input(Tensor(Shape{0, kBatch, kInputs}));
  expect(message(no_steps, in[1], in[2], in[3], in[4]), "x has no steps");
  const Value wide = tape.input(Tensor(in[4].shape(), DType::float64));
  expect(message(in[0], in[1], in[2], in[3], wide), "dtypes differ");
  const Value longer = tape.input(Tensor(Shape{kBatch + 1, kUnits}));
  expect(message(in[0], in[1], in[2], longer, longer), "float32 [6, 5, 3]");
}

TEST(LstmErrors, SecondDerivativesSayWhyThereAreNone) {
  GradientTape tape;
  const Values in = inputs(tape, DType::float32);
  const Value xs[] = {in[1]};
  const Values d = gradients(reduce_sum(lstm(in[0], in[1], in[2], in[3], in[4]).h), xs);
  try {
    gradients(reduce_sum(d[0]), xs);
    FAIL();
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("no second derivative"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace rein
