#include <algorithm>

#include "checks.h"
#include "rein/nn/cell.h"

namespace rein::test {
namespace {

void randomize(Variables& vars) {
  for (size_t i = 0; i < vars.size(); ++i)
    vars.assign(vars[i], normal(vars[i].shape(), 100 + i, 0.7));
}

// A cell that hides its sequence op: the same one, step by step.
class Stepwise final : public RNNCell {
 public:
  explicit Stepwise(const RNNCell& cell) : cell_(cell) {}
  std::vector<std::string> state_names() const override { return cell_.state_names(); }
  std::vector<int64_t> state_sizes() const override { return cell_.state_sizes(); }
  int64_t output_size() const override { return cell_.output_size(); }
  Result step(Value x, const CellState& state, Where where) const override {
    return cell_.step(x, state, where);
  }

 private:
  const RNNCell& cell_;
};

enum class Uses { all_outputs, last_output, state };

// Results and gradients of one loss, by name.
struct Outcome {
  std::vector<std::pair<std::string, Tensor>> all;
};

Outcome unroll(const RNNCell& cell, Variables& vars, Uses uses, bool with_state) {
  GradientTape tape;
  const int64_t steps = 4, batch = 3, input = 2;
  const Value x = tape.input(normal({steps * batch, input}, 1).cast(vars.dtype()));
  CellState initial;
  for (size_t i = 0; i < cell.state_sizes().size(); ++i)
    initial.values.push_back(
        tape.input(normal({batch, cell.state_sizes()[i]}, 10 + i).cast(vars.dtype())));
  const auto unrolled =
      static_rnn(cell, split(x, steps), with_state ? std::optional(initial) : std::nullopt);
  Values used = uses == Uses::all_outputs   ? unrolled.outputs
                : uses == Uses::last_output ? Values{unrolled.outputs.back()}
                                            : unrolled.state.values;
  Value loss = reduce_sum(used[0] * 0.0);
  for (size_t i = 0; i < used.size(); ++i)
    loss = loss + reduce_sum(used[i] * tape.graph().constant(
                                           normal(used[i].shape(), 50 + i).cast(vars.dtype())));

  Outcome outcome;
  for (size_t i = 0; i < unrolled.outputs.size(); ++i)
    outcome.all.emplace_back("output " + std::to_string(i), unrolled.outputs[i].tensor());
  for (size_t i = 0; i < unrolled.state.values.size(); ++i)
    outcome.all.emplace_back(cell.state_names()[i], unrolled.state.values[i].tensor());
  const auto gradients_of_vars = tape.gradient(loss, vars);
  for (size_t i = 0; i < vars.size(); ++i)
    outcome.all.emplace_back("d " + vars[i].name(), gradients_of_vars[i].dense());
  Values xs{x};
  xs.insert(xs.end(), initial.values.begin(), initial.values.end());
  const Values d = gradients(loss, xs);
  for (size_t i = 0; i < d.size(); ++i)
    outcome.all.emplace_back("d input " + std::to_string(i), d[i].tensor());
  return outcome;
}

void expect_same(const RNNCell& cell, Variables& vars, double tolerance) {
  ASSERT_TRUE(cell.is_fused());
  const Stepwise steps(cell);
  ASSERT_FALSE(steps.is_fused());
  for (bool with_state : {false, true})
    for (Uses uses : {Uses::all_outputs, Uses::last_output, Uses::state}) {
      const Outcome got = unroll(cell, vars, uses, with_state);
      const Outcome want = unroll(steps, vars, uses, with_state);
      ASSERT_EQ(got.all.size(), want.all.size());
      for (size_t i = 0; i < got.all.size(); ++i)
        expect_near(got.all[i].second, want.all[i].second, tolerance, want.all[i].first);
    }
}

TEST(StaticRnn, FusedSequenceIsTheStepsInFloat64) {
  Variables vars{Seed{1}, DType::float64};
  BasicLSTMCell cell{vars, "lstm", 2, 5, {.forget_bias = 0.4}};
  randomize(vars);
  expect_same(cell, vars, 1e-12);
}

TEST(StaticRnn, FusedSequenceIsTheStepsInFloat32) {
  Variables vars{Seed{1}};
  BasicLSTMCell cell{vars, "lstm", 2, 5};
  // Numbers of order 1, summed over 12 rows: some dozens of roundings of 6e-8 each.
  expect_same(cell, vars, 1e-5);
}

TEST(StaticRnn, StackedFusedSequencesAreTheSteps) {
  Variables vars{Seed{1}, DType::float64};
  const MultiRNNCell cell{{std::make_shared<BasicLSTMCell>(vars, "low", 2, 5),
                           std::make_shared<BasicLSTMCell>(vars, "high", 5, 3)}};
  randomize(vars);
  expect_same(cell, vars, 1e-12);
}

TEST(StaticRnn, MixedStacksAreNotFused) {
  Variables vars{Seed{1}, DType::float64};
  const MultiRNNCell cell{{std::make_shared<BasicLSTMCell>(vars, "low", 2, 5),
                           std::make_shared<BasicRNNCell>(vars, "high", 5, 3)}};
  EXPECT_FALSE(cell.is_fused());
}

TEST(StaticRnn, SequenceOfACellWithoutAnOpIsItsSteps) {
  Variables vars{Seed{1}, DType::float64};
  BasicRNNCell cell{vars, "rnn", 2, 3};
  randomize(vars);
  GradientTape tape;
  const Value x = tape.input(normal({4, 3, 2}, 1));
  const Values rows = unstack(x);
  CellState state = cell.zero_state(rows[0]);
  const auto whole = cell.sequence(x, state);
  const auto unrolled = static_rnn(cell, rows);
  const Values outputs = unstack(whole.outputs);
  for (size_t t = 0; t < rows.size(); ++t) {
    auto result = cell.step(rows[t], state);
    state = result.state;
    expect_near(outputs[t].tensor(), result.output.tensor(), 0);
    expect_near(unrolled.outputs[t].tensor(), result.output.tensor(), 0);
  }
  expect_near(whole.last.tensor(), state.values[0].tensor(), 0);
  expect_near(whole.state.values[0].tensor(), state.values[0].tensor(), 0);
  expect_near(unrolled.state.values[0].tensor(), state.values[0].tensor(), 0);
}

TEST(StaticRnn, GradientsThroughTimeAreDerivatives) {
  Variables vars{Seed{1}, DType::float64};
  BasicRNNCell cell{vars, "rnn", 2, 3};
  randomize(vars);
  expect_gradients(
      [&](std::span<const Value> in) {
        const auto [outputs, state] = static_rnn(cell, split(in[0], 3), CellState{{in[1]}});
        return reduce_sum(square(outputs[1])) + reduce_sum(outputs[2] * outputs[0]);
      },
      {normal({6, 2}, 1), normal({2, 3}, 2)}, &vars);
}

// With lengths, an example is what it is alone, cut at its length; a length of 0 leaves the state.
TEST(StaticRnn, LengthsCutEachExample) {
  Variables vars{Seed{1}, DType::float64};
  const MultiRNNCell cell{{std::make_shared<BasicLSTMCell>(vars, "low", 2, 5),
                           std::make_shared<BasicRNNCell>(vars, "high", 5, 3)}};
  randomize(vars);
  GradientTape tape;
  const int64_t steps = 4, lengths[] = {2, 4, 0};
  const Tensor x = normal({steps, 3, 2}, 1);
  const Tensor states[] = {normal({3, 5}, 2), normal({3, 5}, 3), normal({3, 3}, 4)};
  CellState state;
  for (const Tensor& t : states) state.values.push_back(tape.input(t));
  const auto got = static_rnn(cell, unstack(tape.input(x)), state,
                              Tensor::copy_of<int64_t>({3}, std::span(lengths)));
  for (int64_t b = 0; b < 3; ++b) {
    CellState alone;
    for (const Value& v : state.values) alone.values.push_back(slice(v, {b, 0}, {1, -1}));
    Values outputs;
    for (int64_t t = 0; t < steps; ++t) {
      const Tensor row = got.outputs[static_cast<size_t>(t)].tensor().piece(3 * b, {1, 3});
      if (t >= lengths[b]) {
        expect_near(row, Tensor({1, 3}, DType::float64), 0);
        continue;
      }
      const auto result = cell.step(tape.input(x.piece((3 * t + b) * 2, {1, 2})), alone);
      alone = result.state;
      expect_near(row, result.output.tensor(), 1e-14);
    }
    for (size_t i = 0; i < alone.values.size(); ++i) {
      const int64_t size = cell.state_sizes()[i];
      expect_near(got.state.values[i].tensor().piece(size * b, {1, size}), alone.values[i].tensor(),
                  1e-14);
    }
  }
}

TEST(StaticRnn, GradientsWithLengthsAreDerivatives) {
  Variables vars{Seed{1}, DType::float64};
  BasicLSTMCell cell{vars, "lstm", 2, 3};
  randomize(vars);
  expect_gradients(
      [&](std::span<const Value> in) {
        const auto [outputs, state] = static_rnn(cell, split(in[0], 3), CellState{{in[1], in[2]}},
                                                 Tensor::of<int32_t>({2}, {3, 1}));
        return reduce_sum(square(outputs[1])) + reduce_sum(outputs[2] * state.values[0]);
      },
      {normal({6, 2}, 1), normal({2, 3}, 2), normal({2, 3}, 3)}, &vars);
}

std::vector<std::string> ops_of(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& node : graph.nodes())
    if (node.op) names.emplace_back(node.op->name);
  return names;
}

TEST(StaticRnn, AListFromASplitIsNotCopied) {
  Variables vars{Seed{1}};
  BasicLSTMCell cell{vars, "lstm", 2, 5};
  GradientTape tape;
  const Value x = tape.input(Tensor({12, 2}));
  const auto [outputs, state] = static_rnn(cell, split(x, 4));
  auto names = ops_of(tape.graph());
  EXPECT_EQ(std::ranges::count(names, "lstm"), 1);
  EXPECT_EQ(std::ranges::count(names, "concat"), 0);  // of the list, which would copy it
  for (const auto& node : tape.graph().nodes()) {
    if (!node.op || node.op->name == "lstm") continue;
    std::vector<Spec> specs;
    for (const Value& v : node.in) specs.push_back(v.spec());
    EXPECT_FALSE(node.op->views(node.attributes.get(), specs).empty())
        << node.op->name << " makes new numbers";
  }

  // Of the last output alone, the op gets no gradient of the whole sequence.
  const size_t forward = names.size();
  tape.gradient(reduce_sum(outputs.back()), vars);
  names = ops_of(tape.graph());
  for (size_t i = forward; i < names.size(); ++i) {
    EXPECT_NE(names[i], "concat");
    EXPECT_NE(names[i], "split");
  }
}

TEST(StaticRnn, WrongListsThrow) {
  Variables vars;
  BasicLSTMCell cell{vars, "rnn", 28, 16};
  GradientTape tape;
  expect_error([&] { static_rnn(cell, {}); }, {"static_rnn", "empty", "static_rnn_test.cpp"});
  const Value a = tape.input(Tensor({4, 28})), b = tape.input(Tensor({5, 28})),
              c = tape.input(Tensor({4, 3})), d = tape.input(Tensor({28}));
  expect_error([&] { static_rnn(cell, Values{a, b}); }, {"static_rnn", "[4, 28]", "[5, 28]"});
  expect_error([&] { static_rnn(cell, Values{d}); }, {"static_rnn", "[28]"});
  expect_error(
      [&] {
        static_rnn(cell, Values{c, c});
      },
      {"BasicLSTMCell", "rnn/kernel", "[steps, batch, 28]", "[2, 4, 3]"});
  expect_error([&] { static_rnn(cell, Values{a}, {}, Tensor({4})); },
               {"static_rnn", "sequence_length", "integers [4]", "float32 [4]"});
  expect_error([&] { static_rnn(cell, Values{a}, {}, Tensor({5}, DType::int32)); },
               {"static_rnn", "sequence_length", "integers [4]", "int32 [5]"});
  const CellState state{{tape.input(Tensor({4, 16}))}};
  expect_error([&] { static_rnn(cell, Values{a, a}, state); }, {"2 values (c, h)", "got 1"});
}

}  // namespace
}  // namespace rein::test
