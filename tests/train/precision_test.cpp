// Narrow products in whole steps: docs/precision.md says how far they may be from float32's.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "train/bench_networks.h"

namespace rein {
namespace {

// The matrix unit where there is one; the bits are the same.
ProductOptions products_of(Precision precision) {
  ProductOptions products{.precision = precision};
  products.emulated = !why_not(products).empty();
  return products;
}

std::vector<float> gradients_of(const app::StepShape& shape, const ProductOptions& products) {
  app::StepNetwork network(shape);
  const Tensor inputs[] = {draw_inputs(shape), draw_targets(shape)};
  const Spec specs[] = {inputs[0].spec(), inputs[1].spec()};
  ThreadTeam team(1);
  const auto cost = [&](std::span<const Value> in) { return Values{network.cost(in[0], in[1])}; };
  GradientRecording recording(cost, specs, network.variables(), team, {Seed{}, products});
  recording.run(inputs);
  Gradients& gradients = recording.gradients();
  gradients.merge_duplicates();
  std::vector<float> all;
  for (size_t i = 0; i < gradients.size(); ++i)
    for (float g : gradients.stored<float>(i)) all.push_back(g);
  return all;
}

double norm_of(const std::vector<float>& x) {
  double squares = 0;
  for (float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

class PrecisionOf : public testing::TestWithParam<app::StepShape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, PrecisionOf, testing::ValuesIn(bench_shapes()),
                         [](const auto& shape) { return std::string(shape.param.name); });

// Float32's own error, of 1e-6, is far below both bounds.
TEST_P(PrecisionOf, WholeGradientAndItsNorm) {
  const std::vector<float> plain = gradients_of(GetParam(), {});
  const double norm = norm_of(plain);
  for (const auto& [precision, bound] :
       {std::pair{Precision::bf16, 1e-2}, std::pair{Precision::bf16x3, 3e-5}}) {
    SCOPED_TRACE(to_string(precision));
    std::vector<float> error = gradients_of(GetParam(), products_of(precision));
    EXPECT_LE(std::abs(norm_of(error) - norm), bound * norm);  // so with the scale of a clip
    for (size_t i = 0; i < error.size(); ++i) error[i] -= plain[i];
    EXPECT_LE(norm_of(error), bound * norm);
    EXPECT_GT(norm_of(error), 1e-8 * norm);  // the setting does something
  }
}

TEST_P(PrecisionOf, EmulationTrainsToTheSameBits) {
  app::StepShape shape = GetParam();
  shape.steps = std::min<int64_t>(shape.steps, 3);
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    if (products_of(precision).emulated) GTEST_SKIP() << why_not({precision});
    Bytes trained[2];
    for (const bool emulated : {false, true}) {
      app::StepNetwork network(shape);
      const Tensor inputs[] = {draw_inputs(shape), draw_targets(shape)};
      Step step = network.step(emulated ? 1 : 2, app::StepWay::mean, {precision, emulated});
      for (int i = 0; i < 3; ++i) step.run(inputs);
      for (size_t i = 0; i < network.variables().size(); ++i)
        append(trained[emulated],
               std::span<const float>(network.variables()[i].read().flat<float>()));
    }
    EXPECT_TRUE(trained[0] == trained[1]) << to_string(precision);
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
    for (const auto& [name, value] : {std::pair{"loss_scale", "32768"},
                                      {"fine_steps", "0"},
                                      {"step", "2"},
                                      {"process/0/in_a_row", "1"},
                                      {"process/0/skipped", "1"}})
      expected.at(name) = value;
    EXPECT_TRUE(step(LinearModel::batch(1e34f)).skip);
    EXPECT_EQ(memory_of(step), expected);
    EXPECT_FALSE(step(LinearModel::batch(2)).skip);
    // A scale that is a power of two changes no bit.
    for (float size : {1.0f, 2.0f}) undisturbed(LinearModel::batch(size));
    EXPECT_EQ(memory_of(step).at("parameters/w"), memory_of(undisturbed).at("parameters/w"));
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
