#include "train/example_models.h"

#include "process/numbers.h"

namespace rein::examples {

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

Outcome::Outcome(const Model& model, DType dtype, PerExample settings,
                 const std::vector<Tensor>& inputs, int threads, ProductOptions products) {
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

namespace {

Value losses(Value logits, Value labels) {
  return sparse_softmax_cross_entropy_with_logits(logits, labels);
}
Value mean_of_steps(Value per_step) { return reduce_mean(per_step, {.axes = {1}}); }

}  // namespace

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

}  // namespace rein::examples
