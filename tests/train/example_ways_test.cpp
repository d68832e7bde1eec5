// A batch of examples computed together, against the same examples one after the other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "allocations.h"
#include "process/numbers.h"
#include "rein/rein.h"

namespace rein {
namespace {

using In = std::span<const Value>;

/// A model, made anew for each step that is compared.
struct Model {
  std::string name;
  std::vector<Spec> inputs;
  std::function<ModelFunction(Variables&)> make;
  int64_t classes = 3;  // integers in the inputs are below
};

void PrintTo(const Model& model, std::ostream* to) { *to << model.name; }

Tensor draw(const Model& model, size_t input, DType dtype) {
  Spec spec = model.inputs[input];
  const auto n = static_cast<size_t>(spec.size());
  if (is_floating(spec.dtype))
    return Tensor::copy_of<double>(spec.shape, noise(n, input)).cast(dtype);
  std::vector<int64_t> numbers(n);
  const RandomStream random(Seed{3}, input);
  for (size_t i = 0; i < n; ++i)
    numbers[i] = static_cast<int64_t>(random.below(i, static_cast<uint64_t>(model.classes)));
  return Tensor::copy_of<int64_t>(spec.shape, numbers);
}

std::vector<Tensor> draw(const Model& model, DType dtype) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < model.inputs.size(); ++i) inputs.push_back(draw(model, i, dtype));
  return inputs;
}

/// What a step made of a model.
struct Outcome {
  explicit Outcome(const Model& model, DType dtype, PerExample settings, int threads = 1,
                   ProductOptions products = {})
      : Outcome(model, dtype, settings, draw(model, dtype), threads, products) {}
  Outcome(const Model& model, DType dtype, PerExample settings, const std::vector<Tensor>& inputs,
          int threads = 1, ProductOptions products = {}) {
    Variables vars(Seed{5}, dtype);
    Step step = record(model.make(vars), vars, chain(), GradientDescent{.learning_rate = 1.0},
                       {.threads = threads, .products = products, .per_example = settings});
    const auto before = [&] {
      std::vector<std::vector<double>> all;
      for (size_t i = 0; i < vars.size(); ++i) all.push_back(numbers(vars[i].read()));
      return all;
    };
    const auto old = before();
    info = step.run(inputs);
    moved = before();
    for (size_t v = 0; v < moved.size(); ++v) {
      names.push_back(vars[v].name());
      for (size_t k = 0; k < moved[v].size(); ++k) moved[v][k] -= old[v][k];
    }
    norms = step.example_norms();
    why = step.one_by_one_because();
  }
  StepInfo info;
  std::vector<double> norms;
  std::vector<std::vector<double>> moved;
  std::vector<std::string> names;
  std::string why;
};

// Between the least and the largest norm, so that some are clipped.
double middle(const std::vector<double>& norms) {
  const auto [least, most] = std::ranges::minmax(norms);
  return (least + most) / 2;
}

Value losses(Value logits, Value labels) {
  return sparse_softmax_cross_entropy_with_logits(logits, labels);
}
Spec floats(Shape shape) { return {shape, DType::float64}; }
Spec labels(Shape shape) { return {shape, DType::int64}; }
/// A cost of a model that lives as long as the cost.
template <class Layers, class Cost>
std::function<ModelFunction(Variables&)> with(Layers layers, Cost cost) {
  return [=](Variables& vars) -> ModelFunction {
    auto made = std::make_shared<decltype(layers(vars))>(layers(vars));
    return [=](In in) { return Values{cost(*made, in)}; };
  };
}
Value mean_of_steps(Value per_step) { return reduce_mean(per_step, {.axes = {1}}); }

std::vector<Model> models() {
  std::vector<Model> all;
  struct Two {
    Linear lower, upper;
  };
  all.push_back(
      {.name = "linear",
       .inputs = {floats({5, 4}), labels({5})},
       .make = with(
           [](Variables& vars) {
             return Two{{vars, "lower", 4, 6}, {vars, "upper", 6, 3}};
           },
           [](const Two& m, In in) { return losses(m.upper(tanh(m.lower(in[0]))), in[1]); })});
  // Rows of an example lie one behind the other: few (products of rows), and more than the weights
  // are wide (one product).
  for (const int64_t steps : {2, 40})
    all.push_back({.name = "linear_over_" + std::to_string(steps) + "_steps",
                   .inputs = {floats({3, steps, 30}), labels({3, steps})},
                   .make = with([](Variables& vars) { return Linear(vars, "out", 30, 20); },
                                [](const Linear& out, In in) {
                                  return mean_of_steps(losses(out(in[0]), in[1]));
                                }),
                   .classes = 20});
  all.push_back({.name = "transposed_weights",
                 .inputs = {floats({5, 4}), labels({5})},
                 .make = with(
                     [](Variables& vars) {
                       return std::vector{vars.add("w", {3, 4}, random_normal()),
                                          vars.add("v", {3, 3}, random_normal())};
                     },
                     [](const std::vector<Variable>& v, In in) {
                       const Value y = matmul(v[0], in[0], {.transpose_b = true});  // columns
                       return losses(matmul(y, v[1], {.transpose_a = true, .transpose_b = true}),
                                     in[1]);
                     })});
  all.push_back({.name = "weights_beside_products",
                 .inputs = {floats({4, 3, 5})},
                 .make = with(
                     [](Variables& vars) {
                       return std::vector{vars.add("scale", {5}, random_normal()),
                                          vars.add("of_steps", {3, 1}, random_normal()),
                                          vars.add("one", {1}, random_normal())};
                     },
                     [](const std::vector<Variable>& v, In in) {
                       const Value y =
                           tanh(in[0] * v[0] - v[1]) * v[1] / (square(in[0] - v[2]) + 1.0);
                       return reduce_sum(y + v[0], {.axes = {1, 2}});
                     })});
  struct Recurrent {
    std::shared_ptr<RNNCell> cell;
    Linear out;
  };
  const auto recurrent = [&](std::string name, auto make_cell, bool lengths) {
    all.push_back({.name = name,
                   .inputs = {floats({5, 4, 3}), labels({5}), labels({5})},
                   .make = with(
                       [=](Variables& vars) {
                         return Recurrent{make_cell(vars), {vars, "out", 4, 3}};
                       },
                       [=](const Recurrent& m, In in) {
                         const Values steps = unstack(in[0], {.axis = 1});
                         const auto run = lengths ? static_rnn(*m.cell, steps, {}, in[2])
                                                  : static_rnn(*m.cell, steps);
                         return losses(m.out(run.state.values.back()), in[1]) +
                                reduce_sum(run.state.values[0], {.axes = {1}}) +
                                cast(in[2], run.outputs[0].dtype()) * 0.0;
                       })});
  };
  recurrent(
      "lstm", [](Variables& vars) { return std::make_shared<BasicLSTMCell>(vars, "rnn", 3, 4); },
      false);
  recurrent(
      "lstm_clipped",
      [](Variables& vars) {
        return std::make_shared<BasicLSTMCell>(
            vars, "rnn", 3, 4,
            BasicLSTMCellOptions{.cell_clip = 0.5, .step_clip = {.gates = 0.01, .state = 0.1}});
      },
      false);
  recurrent(
      "lstm_step_by_step",
      [](Variables& vars) {
        return std::make_shared<BasicLSTMCell>(
            vars, "rnn", 3, 4, BasicLSTMCellOptions{.step_clip = {.gates = 0.01, .state = 0.1}});
      },
      true);
  recurrent(
      "rnn", [](Variables& vars) { return std::make_shared<BasicRNNCell>(vars, "rnn", 3, 4); },
      false);
  struct Characters {
    Variable table, first_state;
    BasicLSTMCell lower, upper;
    Linear out;
  };
  all.push_back({.name = "characters",
                 .inputs = {labels({6, 20}), labels({6, 20})},
                 .make = with(
                     [](Variables& vars) {
                       return Characters{vars.add("table", {7, 5}, random_normal()),
                                         vars.add("first_state", {1, 33}, random_normal()),
                                         {vars, "lower", 5, 33},
                                         {vars, "upper", 33, 33},
                                         {vars, "out", 33, 7}};
                     },
                     [](const Characters& m, In in) {
                       const Value words = gather(m.table, transpose(in[0], {1, 0}));
                       const Value zero =
                           in[0].graph().constant(Tensor({in[0].shape()[0], 33}, m.table.dtype()));
                       const Value first =
                           broadcast_to(in[0].graph().parameter(m.first_state), zero.shape());
                       const Value below = m.lower.sequence(words, {{zero, first}}).outputs;
                       const Value above = m.upper.sequence(below, {{zero, zero}}).outputs;
                       const Value all_losses = losses(m.out(transpose(above, {1, 0, 2})), in[1]);
                       return mean_of_steps(all_losses);
                     }),
                 .classes = 7});
  return all;
}

class ExamplesOf : public testing::TestWithParam<Model> {};
INSTANTIATE_TEST_SUITE_P(Models, ExamplesOf, testing::ValuesIn(models()),
                         [](const auto& test) { return test.param.name; });

void expect_near(const Outcome& got, const Outcome& want, double tolerance) {
  EXPECT_EQ(got.info.clipped_examples, want.info.clipped_examples);
  EXPECT_NEAR(got.info.loss, want.info.loss, tolerance);
  for (size_t i = 0; i < want.norms.size(); ++i)
    EXPECT_NEAR(got.norms[i], want.norms[i], tolerance * want.norms[i]) << i;
  for (size_t v = 0; v < want.moved.size(); ++v) {
    double largest = 0;
    for (double x : want.moved[v]) largest = std::max(largest, std::abs(x));
    EXPECT_GT(largest, 0) << want.names[v];
    for (size_t k = 0; k < want.moved[v].size(); ++k)
      ASSERT_NEAR(got.moved[v][k], want.moved[v][k], tolerance * (largest + 1)) << want.names[v];
  }
}

TEST_P(ExamplesOf, ABatchAreThoseOneByOne) {
  for (const DType dtype : {DType::float64, DType::float32}) {
    const double clip_norm = middle(Outcome(GetParam(), dtype, {.one_by_one = true}).norms);
    const Outcome loop(GetParam(), dtype, {.clip_norm = clip_norm, .one_by_one = true});
    const Outcome together(GetParam(), dtype, {.clip_norm = clip_norm});
    EXPECT_EQ(together.why, "");
    EXPECT_GT(loop.info.clipped_examples, 0);
    EXPECT_LT(loop.info.clipped_examples, std::ssize(loop.norms));
    // Sums of up to a few hundred products in another order.
    expect_near(together, loop, dtype == DType::float64 ? 1e-12 : 1e-5);
  }
}

// Roundings of inputs, at most 2^-16 each, a few in a row. An example whose loss is nearly 0 has a
// gradient that is a small difference (the probability of its label less 1): the largest norm
// counts.
TEST_P(ExamplesOf, NarrowProductsKeepTheirPromiseBothWays) {
  const ProductOptions narrow{Precision::bf16x3, true};
  const double clip_norm = middle(Outcome(GetParam(), DType::float64, {.one_by_one = true}).norms);
  const Outcome exact(GetParam(), DType::float64, {.clip_norm = clip_norm});
  const double largest = std::ranges::max(exact.norms);
  for (bool one_by_one : {false, true}) {
    SCOPED_TRACE(one_by_one);
    const Outcome got(GetParam(), DType::float32,
                      {.clip_norm = clip_norm, .one_by_one = one_by_one}, 1, narrow);
    EXPECT_EQ(got.why.empty(), !one_by_one);
    for (size_t i = 0; i < exact.norms.size(); ++i)
      EXPECT_NEAR(got.norms[i], exact.norms[i], 3e-5 * largest);
    double error = 0, size = 0;
    for (size_t v = 0; v < exact.moved.size(); ++v)
      for (size_t k = 0; k < exact.moved[v].size(); ++k) {
        error += std::pow(got.moved[v][k] - exact.moved[v][k], 2);
        size += std::pow(exact.moved[v][k], 2);
      }
    EXPECT_LE(std::sqrt(error), 3e-5 * std::sqrt(size));
  }
}

TEST_P(ExamplesOf, SameBitsForAnyNumberOfThreads) {
  const PerExample settings{.clip_norm = 0.3};
  const Outcome one(GetParam(), DType::float32, settings, 1);
  const Outcome three(GetParam(), DType::float32, settings, 3);
  EXPECT_EQ(one.norms, three.norms);
  EXPECT_EQ(one.moved, three.moved);
}

// Also where 0 times what is not finite would not be 0.
TEST_P(ExamplesOf, AnExampleThatIsNotFiniteIsLeftOut) {
  if (!is_floating(GetParam().inputs[0].dtype)) return;
  std::vector<Tensor> inputs = draw(GetParam(), DType::float64);
  inputs[0].flat<double>()[1] = std::numeric_limits<double>::infinity();
  const PerExample one_by_one{.clip_norm = 0.3, .one_by_one = true};
  const Outcome loop(GetParam(), DType::float64, one_by_one, inputs);
  const Outcome together(GetParam(), DType::float64, {.clip_norm = 0.3}, inputs);
  EXPECT_EQ(together.why, "");
  EXPECT_EQ(std::isfinite(together.norms[0]), std::isfinite(loop.norms[0]));
  EXPECT_TRUE(std::isfinite(together.norms[1]));
  for (size_t v = 0; v < loop.moved.size(); ++v)
    for (size_t k = 0; k < loop.moved[v].size(); ++k)
      ASSERT_NEAR(together.moved[v][k], loop.moved[v][k], 1e-12) << loop.names[v];
}

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

TEST(ExamplesTogether, AllocateNothingAfterTheFirstStep) {
  const std::vector<Model> all = models();
  const Model& characters = *std::ranges::find(all, "characters", &Model::name);
  for (const int threads : {1, 2}) {
    Variables vars{Seed{5}};
    Step step =
        record(characters.make(vars), vars, chain(ClipByGlobalNorm{.clip_norm = 1}), Adam{},
               {.threads = threads,
                .per_example = PerExample{.clip_norm = 0.3, .noise_multiplier = 0.1, .seed = 1}});
    const std::vector<Tensor> inputs = draw(characters, DType::float32);
    for (int i = 0; i < 2; ++i) step.run(inputs);
    EXPECT_EQ(step.one_by_one_because(), "");
    const int64_t before = app::allocation_count();
    for (int i = 0; i < 3; ++i) step.run(inputs);
    EXPECT_EQ(app::allocation_count(), before) << threads;
  }
}

TEST(ExamplesTogether, GoOnFromAStateOfThoseOneByOne) {
  const std::vector<Model> all = models();
  Variables one(Seed{5}), other(Seed{6});
  const auto step_of = [&](Variables& vars, bool one_by_one) {
    return record(all[0].make(vars), vars, chain(), Adam{},
                  {.per_example = PerExample{.clip_norm = 1, .one_by_one = one_by_one}});
  };
  Step first = step_of(one, true), second = step_of(other, false);
  first.run(draw(all[0], DType::float32));
  second.load_state(first.state());
  EXPECT_EQ(numbers(other[0].read()), numbers(one[0].read()));
}

}  // namespace
}  // namespace rein
