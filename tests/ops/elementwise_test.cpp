// Values, edges and errors of the elementwise ops; their gradients are in the battery.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rein/compute/ops.h"
#include "rein/compute/tape.h"

namespace rein {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> floats(const Value& v) {
  const Tensor t = v.tensor();
  const auto x = static_cast<const Tensor&>(t).flat<float>();
  return {x.begin(), x.end()};
}

std::vector<float> gradient_of(Value y, Value x) { return floats(gradients(y, {&x, 1})[0]); }

class ElementwiseOps : public testing::Test {
 protected:
  Value input(std::initializer_list<float> x) {
    return tape_.input(Tensor::of<float>({static_cast<int64_t>(x.size())}, x));
  }
  GradientTape tape_;
};
using Floats = std::vector<float>;

TEST_F(ElementwiseOps, OperatorsAndNumbers) {
  const Value x = input({1, 2, 4});
  EXPECT_EQ(floats((1.0 - x) * 2.0 + x / 4.0), (Floats{0.25, -1.5, -5}));
  EXPECT_EQ(floats(8.0 / -x), (Floats{-8, -4, -2}));
}

TEST_F(ElementwiseOps, GradientAtTheKinks) {
  const Value x = input({-1, 0, 1, kNaN}), zero = input({0, 0, 0, 0});
  EXPECT_EQ((Floats{gradient_of(relu(x), x)}), (Floats{0, 0, 1, 0}));
  const Floats d = gradient_of(abs(x), x);
  EXPECT_EQ(Floats(d.begin(), d.begin() + 3), (Floats{-1, 0, 1}));
  EXPECT_TRUE(std::isnan(d[3]));
  // Where equal, the gradient goes to the first.
  EXPECT_EQ(gradient_of(maximum(x, zero), x), (Floats{0, 1, 1, 1}));
  EXPECT_EQ(gradient_of(maximum(x, zero), zero), (Floats{1, 0, 0, 0}));
  EXPECT_EQ(gradient_of(minimum(x, zero), x), (Floats{1, 1, 0, 1}));
  EXPECT_EQ(gradient_of(minimum(x, zero), zero), (Floats{0, 0, 1, 0}));
}

TEST_F(ElementwiseOps, InfiniteGradientsDoNotLeakThroughAChoice) {
  const Value x = input({-1, 4});
  // 0 times infinity would be NaN: the side that is not chosen gets 0, whatever flows in.
  const Value y = where(greater(x, 0.0), x, 0.0);
  EXPECT_EQ(gradient_of(y * input({kInf, 1}), x), (Floats{0, 1}));
  EXPECT_EQ(gradient_of(relu(x) * input({kInf, 1}), x), (Floats{0, 1}));
  EXPECT_EQ(gradient_of(maximum(x, 0.0) * input({kInf, 1}), x), (Floats{0, 1}));
  EXPECT_EQ(gradient_of(clip_by_value(x, 0.0, 5.0) * input({kInf, 1}), x), (Floats{0, 1}));
}

TEST_F(ElementwiseOps, ClipByValueIsTensorFlows) {
  const Value x = input({-3, -1, 0.5, 1, 3, kNaN});
  const Value y = clip_by_value(x, -1.0, 1.0);
  const Floats clipped = floats(y);
  EXPECT_EQ(Floats(clipped.begin(), clipped.begin() + 5), (Floats{-1, -1, 0.5, 1, 1}));
  EXPECT_TRUE(std::isnan(clipped[5]));
  EXPECT_EQ(gradient_of(y, x), (Floats{0, 1, 1, 1, 0, 1}));  // on a bound it passes
  EXPECT_EQ(floats(clip_by_value(input({-3, 0, 3}), 2.0, 1.0)), (Floats{2, 2, 2}));  // lo wins
  const Value lo = input({-1}), hi = input({1});
  const Value z = clip_by_value(input({-3, -2, 0, 5}), lo, hi);
  EXPECT_EQ(gradient_of(z, lo), (Floats{2}));
  EXPECT_EQ(gradient_of(z, hi), (Floats{1}));
}

TEST_F(ElementwiseOps, DropoutKeepsItsMaskForTheGradient) {
  const Value x = tape_.input(Tensor::copy_of<float>({1000}, Floats(1000, 3)));
  const Value y = dropout(x, 0.2);
  const Floats out = floats(y), d = gradient_of(y, x);
  size_t dropped = 0;
  for (size_t i = 0; i < 1000; ++i) {
    dropped += out[i] == 0;
    EXPECT_EQ(d[i], out[i] == 0 ? 0.0f : 1.25f);
    EXPECT_EQ(out[i], 3 * d[i]);
  }
  EXPECT_NEAR(static_cast<double>(dropped), 200, 5 * 12.7);  // 5 standard deviations
  EXPECT_NE(floats(dropout(x, 0.2)), out);                   // another node draws anew
  EXPECT_EQ(floats(dropout(x, 0)), floats(x));
}

TEST(DropoutSteps, DrawAnewEachStep) {
  const auto mask = [](uint64_t seed, uint64_t step) {
    GradientTape tape({.seed = Seed{seed}, .step = step});
    return floats(dropout(tape.input(Tensor::copy_of<float>({100}, Floats(100, 1))), 0.5));
  };
  EXPECT_EQ(mask(1, 1), mask(1, 1));
  EXPECT_NE(mask(1, 1), mask(1, 2));
  EXPECT_NE(mask(1, 1), mask(2, 1));
}

TEST_F(ElementwiseOps, NoGradientFlowsThroughThese) {
  Value x = input({-1, 2});
  for (const Value& y : {stop_gradient(x), sign(x), greater(x, 0.0)})
    EXPECT_FALSE(tape_.graph().gradients(y, {&x, 1})[0]);
  EXPECT_EQ(gradient_of(x * stop_gradient(x), x), (Floats{-1, 2}));
}

TEST_F(ElementwiseOps, CastsThereAndBack) {
  const Value x = input({1.5, -2.75});
  const Value wide = cast(x, DType::float64);
  EXPECT_EQ(wide.dtype(), DType::float64);
  const Value d = gradients(square(wide), {&x, 1})[0];
  EXPECT_EQ(d.dtype(), DType::float32);
  EXPECT_EQ(floats(d), (Floats{3, -5.5}));
  const Tensor whole = cast(x, DType::int32).tensor();
  EXPECT_EQ(static_cast<const Tensor&>(whole).flat<int32_t>()[1], -2);
  EXPECT_EQ(floats(cast(cast(x, DType::int64), DType::float32)), (Floats{1, -2}));
  EXPECT_EQ(cast(x, DType::float32).tensor().data(), x.tensor().data());  // nothing to do
}

TEST_F(ElementwiseOps, OnesOfEveryType) {
  for (DType dtype : {DType::float32, DType::float64, DType::int32, DType::int64}) {
    const Value v = ones({{2, 2}, dtype}, tape_.graph());
    EXPECT_EQ(v.spec(), (Spec{{2, 2}, dtype}));
    const Tensor t = v.tensor().cast(DType::float32);
    for (float x : t.flat<float>()) EXPECT_EQ(x, 1);
  }
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const InvalidArgument& e) {
    return e.what();
  }
  return "no error";
}

TEST_F(ElementwiseOps, ErrorsNameTheOpTheSpecsAndThePlace) {
  const Value a = input({1, 2}), b = input({1, 2, 3});
  const Value whole = tape_.input(Tensor::of<int32_t>({2}, {1, 2}));
  const Value wide = tape_.input(Tensor::of<double>({2}, {1, 2}));
  const auto expect = [](const std::string& text, std::initializer_list<std::string> parts) {
    for (const auto& part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const int line = __LINE__ + 1;
  expect(error_of([&] { add(a, b); }), {"add: ", "broadcast", "float32 [2] and float32 [3]",
                                        "elementwise_test.cpp:" + std::to_string(line)});
  expect(error_of([&] { mul(a, wide); }), {"mul: ", "dtypes differ; use cast", "float64 [2]"});
  expect(error_of([&] { tanh(whole); }), {"tanh: ", "float32 or float64", "int32 [2]"});
  expect(error_of([&] { where(a, a, b); }), {"where: ", "broadcast"});
  expect(error_of([&] {
           clip_by_value(a, -1.0, tape_.input(Tensor({3, 2})));
         }),
         {"clip_by_value: ", "bounds do not broadcast to the shape of x", "float32 [3, 2]"});
  for (double rate : {-0.1, 1.0, std::nan("")})
    expect(error_of([&] { dropout(a, rate); }), {"dropout: ", "rate"});
}

}  // namespace
}  // namespace rein
