// Narrow products in whole steps: docs/precision.md says how far they may be from float32's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "rein/kernels/gemm.h"
#include "train/bench_networks.h"

namespace rein {
namespace {

// The unit where there is one; the bits are the same.
ProductOptions products_of(Precision precision) {
  ProductOptions products{.precision = precision};
  products.emulated = !why_not(products).empty();
  return products;
}

Tensor as_type(const Tensor& x, DType type) {
  if (x.dtype() != DType::float32 || type == DType::float32) return x;
  Tensor wide(x.shape(), type);
  std::ranges::copy(x.flat<float>(), wide.flat<double>().begin());
  return wide;
}

std::vector<double> gradients_of(const app::StepShape& shape, DType type,
                                 const ProductOptions& products = {}) {
  app::StepNetwork start(shape), network(shape, type);  // the same numbers in both types
  for (size_t i = 0; i < start.variables().size(); ++i)
    network.variables().assign(network.variables()[i], as_type(start.variables()[i].read(), type));
  const Tensor inputs[] = {as_type(draw_inputs(shape), type), as_type(draw_targets(shape), type)};
  const Spec specs[] = {inputs[0].spec(), inputs[1].spec()};
  ThreadTeam team(1);
  const auto cost = [&](std::span<const Value> in) { return Values{network.cost(in[0], in[1])}; };
  GradientRecording recording(cost, specs, network.variables(), team, {Seed{}, products});
  recording.run(inputs);
  Gradients& gradients = recording.gradients();
  gradients.merge_duplicates();
  std::vector<double> all;
  visit_float(type, [&](auto zero) {
    for (size_t i = 0; i < gradients.size(); ++i)
      for (auto g : gradients.stored<decltype(zero)>(i)) all.push_back(static_cast<double>(g));
  });
  return all;
}

double norm_of(const std::vector<double>& x) {
  double squares = 0;
  for (double v : x) squares += v * v;
  return std::sqrt(squares);
}
double distance(const std::vector<double>& x, const std::vector<double>& y) {
  std::vector<double> error = x;
  for (size_t i = 0; i < error.size(); ++i) error[i] -= y[i];
  return norm_of(error);
}

class PrecisionOf : public testing::TestWithParam<app::StepShape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, PrecisionOf, testing::ValuesIn(bench_shapes()),
                         [](const auto& shape) { return std::string(shape.param.name); });

// Against float64, from which float32 is less than 1e-6 away. Half the norm for a threshold: a
// scale that a clip takes.
TEST_P(PrecisionOf, WholeGradientAndTheScaleOfAClip) {
  const std::vector<double> exact = gradients_of(GetParam(), DType::float64);
  const double norm = norm_of(exact);
  const auto scale_of = [&](double of) { return 0.5 * norm / std::max(of, 0.5 * norm); };
  for (const auto& [precision, bound] :
       {std::pair{Precision::f32, 1e-6}, std::pair{Precision::bf16, 1e-2},
        std::pair{Precision::bf16x3, 3e-5}}) {
    SCOPED_TRACE(to_string(precision));
    const std::vector<double> got =
        gradients_of(GetParam(), DType::float32, products_of(precision));
    RecordProperty(std::string(to_string(precision)),
                   (testing::Message() << distance(got, exact) / norm).GetString());
    EXPECT_LE(distance(got, exact), bound * norm);
    EXPECT_LE(std::abs(scale_of(norm_of(got)) - scale_of(norm)), bound * scale_of(norm));
    if (precision == Precision::f32) continue;
    EXPECT_GT(distance(got, exact), 1e-7 * norm);  // the setting does something
  }
}

TEST_P(PrecisionOf, EmulationTrainsToTheSameBits) {
  app::StepShape shape = GetParam();
  shape.steps = std::min<int64_t>(shape.steps, 3);
  if (const std::string why = why_not({Precision::bf16}); !why.empty()) GTEST_SKIP() << why;
  for (NarrowUnit unit : {NarrowUnit::amx, NarrowUnit::avx512_bf16})
    for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
      if (!why_not({precision, false, unit}).empty()) continue;
      Bytes trained[2];
      for (const bool emulated : {false, true}) {
        app::StepNetwork network(shape);
        const Tensor inputs[] = {draw_inputs(shape), draw_targets(shape)};
        Step step = network.step(emulated ? 1 : 2, app::StepWay::mean, {precision, emulated, unit});
        for (int i = 0; i < 3; ++i) step.run(inputs);
        for (size_t i = 0; i < network.variables().size(); ++i)
          append(trained[emulated],
                 std::span<const float>(network.variables()[i].read().flat<float>()));
      }
      EXPECT_TRUE(trained[0] == trained[1]) << to_string(precision) << " " << to_string(unit);
    }
}

// Everything that a step remembers, tensors as their bytes.
std::map<std::string, std::string> memory_of(const Step& step) {
  std::map<std::string, std::string> all;
  for (const auto& [name, value] : step.state()) {
    const Tensor* tensor = std::get_if<Tensor>(&value);
    all[name] = tensor
                    ? std::string(static_cast<const char*>(tensor->data()), tensor->spec().bytes())
                    : to_string(value);
  }
  return all;
}

struct LinearModel {
  Variables vars{Seed{3}};
  Variable w = vars.add("w", {3, 2}, random_uniform(-1, 1));

  Step step(StepOptions options) {
    options.threads = 1;
    return record([this](Value x) { return reduce_mean(matmul(x, w)); }, vars,
                  chain(ClipByGlobalNorm{.clip_norm = 1}), Adam{}, options);
  }
  static Tensor batch(float size) {
    Tensor x({4, 3});
    for (size_t i = 0; i < 12; ++i) x.flat<float>()[i] = size * static_cast<float>(i % 5 + 1);
    return x;
  }
};

// An overflow that only the loss scale brings about is one skipped step and a smaller scale.
TEST(Precision, OverflowUnderALossScaleSkipsOneStep) {
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    SCOPED_TRACE(to_string(precision));
    LinearModel with, without;
    const StepOptions options{.products = {precision, true},
                              .loss_scale = LossScale{.initial = 65536}};
    Step step = with.step(options), undisturbed = without.step(options);
    EXPECT_FALSE(step(LinearModel::batch(1)).skip);
    auto expected = memory_of(step);
    EXPECT_EQ(expected.at("loss_scale"), "65536");
    for (const auto& [name, value] :
         {std::pair{"loss_scale", "32768"}, {"fine_steps", "0"}, {"step", "2"}})
      expected.at(name) = value;
    EXPECT_TRUE(step(LinearModel::batch(1e34f)).skip);
    EXPECT_EQ(memory_of(step), expected);
    EXPECT_FALSE(step(LinearModel::batch(2)).skip);
    // A scale that is a power of two changes no bit.
    for (float size : {1.0f, 2.0f}) undisturbed(LinearModel::batch(size));
    EXPECT_EQ(memory_of(step).at("parameters/w"), memory_of(undisturbed).at("parameters/w"));
  }
}

// What is handed on is finer than bf16, whichever factor the variable is: the gradient of a bias
// below a softmax is a sum of many rows, all of which would be off alike.
TEST(Precision, WhatAProductHandsOnIsFinerOnEitherSide) {
  const auto bias_gradient = [](bool weights_first, Precision precision) {
    constexpr int64_t kRows = 2048, kUnits = 16, kClasses = 65;
    Variables vars{Seed{3}};
    const Variable bias = vars.add("bias", {kUnits}, random_uniform(-1, 1));
    const Variable w = vars.add("w", {kUnits, kClasses}, random_uniform(-0.1, 0.1));
    const Variable turned = vars.add("turned", {kClasses, kUnits}, constant(0));
    Tensor values({kClasses, kUnits});
    kernels::ref::transpose(kUnits, kClasses, w.read().flat<float>().data(), kClasses,
                            values.flat<float>().data(), kUnits);
    vars.assign(turned, values);
    const auto cost = [&](std::span<const Value> in) {
      const Value h = tanh(in[0] + bias);
      const Value logits =
          weights_first ? transpose(matmul(turned, transpose(h, {1, 0})), {1, 0}) : matmul(h, w);
      return Values{reduce_mean(sparse_softmax_cross_entropy_with_logits(logits, in[1]))};
    };
    Tensor x({kRows, kUnits}), y({kRows}, DType::int32);
    const RandomStream random(Seed{4}, 0), labels(Seed{4}, 1);
    for (size_t i = 0; i < x.flat<float>().size(); ++i)
      x.flat<float>()[i] = static_cast<float>(random.normal(i));
    for (size_t i = 0; i < y.flat<int32_t>().size(); ++i)
      y.flat<int32_t>()[i] = static_cast<int32_t>(labels.below(i, kClasses));
    const Tensor inputs[] = {x, y};
    const Spec specs[] = {x.spec(), y.spec()};
    ThreadTeam team(1);
    GradientRecording recording(cost, specs, vars, team, {Seed{}, {precision, true}});
    recording.run(inputs);
    const auto g = recording.gradients().stored<float>(0);
    return std::vector<double>(g.begin(), g.end());
  };
  for (bool weights_first : {false, true}) {
    const auto plain = bias_gradient(weights_first, Precision::f32);
    const auto narrow = bias_gradient(weights_first, Precision::bf16);
    // 6e-4; 2.5e-3 with the gradient of the softmax rounded to bf16.
    EXPECT_LE(distance(narrow, plain), 1e-3 * norm_of(plain)) << weights_first;
  }
}

// What is remembered is float32: who goes on from it in another precision walks the way of who
// changes the precision between two steps.
TEST(Precision, MayChangeWhereTrainingGoesOn) {
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    SCOPED_TRACE(to_string(precision));
    const StepOptions narrow{.products = products_of(precision)};
    LinearModel here, later, never;
    Step wide = here.step({}), other = here.step(narrow), unchanged = never.step({});
    for (float size : {1.0f, 1.7f}) {
      wide(LinearModel::batch(size));
      unchanged(LinearModel::batch(size));
    }
    const StateDict saved = wide.state();
    other.load_state(saved);
    Step resumed = later.step(narrow);
    resumed(LinearModel::batch(3));
    resumed.load_state(saved);
    for (float size : {0.3f, 1.1f})
      for (Step* step : {&other, &resumed, &unchanged}) (*step)(LinearModel::batch(size));
    EXPECT_EQ(memory_of(resumed), memory_of(other));
    EXPECT_NE(memory_of(resumed), memory_of(unchanged));
  }
}

}  // namespace
}  // namespace rein
