// Why a batch goes example by example.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "train/example_models.h"

namespace rein::examples {
namespace {

struct Weights {
  Variable w, v;  // [3, 2], [3]
};
using Cost = std::function<Value(const Weights&, Value x)>;

/// Why a batch of [examples, 3] goes example by example; up to the place in this file. It must be
/// the same as if that had been asked for.
std::string why_of(const Cost& cost, int64_t examples = 4) {
  const Model model{.name = "",
                    .inputs = {floats({examples, 3})},
                    .make = with(
                        [](Variables& vars) {
                          return Weights{vars.add("w", {3, 2}, random_normal()),
                                         vars.add("v", {3}, random_normal())};
                        },
                        [=](const Weights& w, In in) { return cost(w, in[0]); })};
  const Outcome got(model, DType::float64, {.clip_norm = 1});
  if (got.why.empty()) return "";
  const Outcome loop(model, DType::float64, {.clip_norm = 1, .one_by_one = true});
  EXPECT_EQ(got.norms, loop.norms);
  EXPECT_EQ(got.moved, loop.moved);
  const size_t from = got.why.find(" ("), to = got.why.find(')', from);
  return from == std::string::npos ? got.why : got.why.substr(0, from) + got.why.substr(to + 1);
}

struct Unknown {
  static constexpr std::string_view name = "test_unknown";
  static constexpr std::string_view no_gradient = "a test";
  bool operator==(const Unknown&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run&, Ins in, Outs out) const {
    std::copy_n(in[0].as<double>(), in[0].size(), out[0].as<double>());
  }
};

// Its attribute follows the size of the batch.
template <bool kSaysSo>
struct OfShape {
  Shape shape;
  static constexpr std::string_view name = kSaysSo ? "test_of_shape" : "test_of_other_shape";
  static constexpr std::string_view no_gradient = "a test";
  static constexpr bool attributes_are_shapes = kSaysSo;
  bool operator==(const OfShape&) const = default;
  Spec infer(Specs in) const { return {shape, in[0].dtype}; }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  void forward(const Run&, Ins in, Outs out) const {
    std::copy_n(in[0].as<double>(), in[0].size(), out[0].as<double>());
  }
};

// Its gradient is the same op on a sum over examples.
template <bool kSaysSo>
struct Negative {
  static constexpr std::string_view name = kSaysSo ? "test_negative" : "test_other_negative";
  static constexpr int sign_in_sums = kSaysSo ? -1 : 0;
  bool operator==(const Negative&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  void forward(const Run&, Ins in, Outs out) const {
    std::transform(in[0].as<double>(), in[0].as<double>() + in[0].size(), out[0].as<double>(),
                   std::negate());
  }
  Cotangents vjp(const Backward& b) const { return {apply(Negative{}, {b.dy()}, Where::here())}; }
};

TEST(ExamplesOneByOne, WhereTheyCannotBeToldApartAndStepSaysWhy) {
  const auto loss = [](const Weights& w, Value x) {
    return reduce_sum(square(matmul(x, w.w)), {.axes = {1}}) + reduce_sum(x * w.v, {.axes = {1}});
  };
  EXPECT_EQ(why_of(loss), "");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, apply(Unknown{}, {x}, Where::here()));
            }),
            "test_unknown does not keep the examples of the loss apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, apply(OfShape<false>{x.shape()}, {x}, Where::here()));
            }),
            "test_of_other_shape has other attributes for a batch of another size");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, apply(OfShape<true>{x.shape()}, {x}, Where::here()));
            }),
            "");
  const auto with_negative = [](auto negative) {
    return why_of([=](const Weights& w, Value x) {
      const Value v = apply(negative, {x.graph().parameter(w.v)}, Where::here());
      return reduce_sum(square(matmul(x, w.w)), {.axes = {1}}) + reduce_sum(x * v, {.axes = {1}});
    });
  };
  EXPECT_EQ(with_negative(Negative<false>{}),
            "variable 'v' is used where test_other_negative does not keep examples apart");
  EXPECT_EQ(with_negative(Negative<true>{}), "");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, x) * stop_gradient(dropout(ones({{1}, x.dtype()}, x.graph()), 0));
            }),
            "dropout does not keep the examples of the loss apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, x - reduce_mean(x, {.axes = {0}, .keepdims = true}));
            }),
            "reduce_mean does not keep the examples of the loss apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, x) / static_cast<double>(x.shape()[0]);
            }),
            "a constant, float64 [], depends on the size of the batch or tells examples apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              Tensor numbered({x.shape()[0]}, DType::float64);
              for (int64_t i = 0; i < numbered.size(); ++i)
                numbered.flat<double>()[static_cast<size_t>(i)] = static_cast<double>(i + 1);
              return loss(w, x) * numbered;
            }),
            "a constant, float64 [4], depends on the size of the batch or tells examples apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return loss(w, x) / reduce_sum(ones({{x.shape()[0]}, x.dtype()}, x.graph()));
            }),
            "div does not keep the examples of the loss apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return x.shape()[0] % 2 == 0 ? loss(w, x) : loss(w, x) * 2.0;
            }),
            "the cost takes other ops for a batch of another size");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              return clip_gradient_by_value(loss(w, x), 1.0 / static_cast<double>(x.shape()[0]));
            }),
            "clip_gradient_by_value has other attributes for a batch of another size");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) { return loss(w, x) + reduce_sum(x * w.v); }),
            "add does not keep the examples of the loss apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              const Value weights = x.graph().parameter(w.w);
              return loss(w, x) + reduce_sum(square(weights));
            }),
            "variable 'w' is used where broadcast_to does not keep examples apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              const Value sums = reduce_sum(x.graph().parameter(w.w), {.axes = {0}});
              return reduce_sum(slice(x, {0, 0}, {-1, 2}) * sums, {.axes = {1}});
            }),
            "variable 'w' is used where broadcast_to does not keep examples apart");
  EXPECT_EQ(why_of([&](const Weights& w, Value x) {
              const Value beside = reshape(x.graph().parameter(w.w), {1, 2, 3});
              return loss(w, x) + reduce_sum(reshape(x, {-1, 1, 3}) * beside, {.axes = {1, 2}});
            }),
            "variable 'w' is used in a product and beside one");
  EXPECT_EQ(why_of(loss, 1), "a batch is one example");
}

TEST(ExamplesOneByOne, IfTheCostMakesItsVariables) {
  Variables vars{Seed{1}};
  std::optional<Linear> out;
  const auto cost = [&](Value x) {
    if (!out) out.emplace(vars, "out", 3, 1);
    return reduce_sum((*out)(x), {.axes = {1}});
  };
  Step step = record(cost, vars, chain(), GradientDescent{}, {.per_example = PerExample{}});
  step(Tensor({4, 3}));
  EXPECT_EQ(step.one_by_one_because(), "the cost makes variables");
}

}  // namespace
}  // namespace rein::examples
