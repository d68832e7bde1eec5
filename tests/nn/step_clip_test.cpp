// Clips inside the sequence: the fused op, the cell step by step and the recorded step agree; the
// gradient alone is clipped.
#include <cmath>
#include <limits>

#include "checks.h"
#include "rein/compute/recording.h"
#include "rein/nn/cell.h"
#include "rein/nn/clip.h"

namespace rein::test {
namespace {

constexpr int64_t kSteps = 5, kBatch = 4, kInputs = 3, kUnits = 6;

struct ClipCase {
  const char* name;
  BasicLSTMCellOptions options;
};
void PrintTo(const ClipCase& c, std::ostream* out) { *out << c.name; }

const ClipCase kCases[] = {
    {"gates", {.step_clip = {.gates = 0.05}}},
    {"state", {.step_clip = {.state = 0.5}}},
    {"cell", {.cell_clip = 0.4}},
    {"cell_straight_through",
     {.cell_clip = 0.4, .cell_clip_gradient = CellClipGradient::straight_through}},
    {"all", {.cell_clip = 0.6, .step_clip = {.gates = 0.1, .state = 0.7}}}};

void randomize(Variables& vars) {
  for (size_t i = 0; i < vars.size(); ++i)
    vars.assign(vars[i], normal(vars[i].shape(), 100 + i, 0.7).cast(vars.dtype()));
}

enum class Way { fused, by_steps };

// Outputs, last state, and the gradients of a loss of all of them with respect to x, c, h and the
// variables. `in`: x, c, h.
Values everything(Way way, const RNNCell& cell, Variables& vars, std::span<const Value> in) {
  const CellState first{{in[1], in[2]}};
  const RNNCell::Sequence r =
      way == Way::fused ? cell.sequence(in[0], first) : cell.RNNCell::sequence(in[0], first);
  Values all{r.outputs, r.state.values[0], r.state.values[1]};
  Value loss = reduce_sum(all[0] * 0.0);
  for (size_t i = 0; i < 3; ++i)
    loss = loss + reduce_sum(all[i] * in[0].graph().constant(
                                          normal(all[i].shape(), 50 + i).cast(vars.dtype())));
  Values sources(in.begin(), in.end());
  for (size_t i = 0; i < vars.size(); ++i) sources.push_back(in[0].graph().parameter(vars[i]));
  for (const Value& d : gradients(loss, sources)) all.push_back(d);
  return all;
}

std::vector<Tensor> drawn(DType type) {
  return {normal({kSteps, kBatch, kInputs}, 1).cast(type), normal({kBatch, kUnits}, 2).cast(type),
          normal({kBatch, kUnits}, 3).cast(type)};
}

std::vector<Tensor> eagerly(Way way, const RNNCell& cell, Variables& vars) {
  GradientTape tape;
  Values in;
  for (const Tensor& t : drawn(vars.dtype())) in.push_back(tape.input(t));
  std::vector<Tensor> all;
  for (const Value& v : everything(way, cell, vars, in)) all.push_back(v.tensor());
  return all;
}

std::vector<Tensor> recorded(Way way, const RNNCell& cell, Variables& vars, int threads = 1) {
  const auto tensors = drawn(vars.dtype());
  std::vector<Spec> specs;
  for (const Tensor& t : tensors) specs.push_back(t.spec());
  ThreadTeam team(threads);
  size_t results = 0;
  auto recording = record_forward(
      [&](std::span<const Value> in) {
        const Values all = everything(way, cell, vars, in);
        results = all.size();
        return all;
      },
      specs, team);
  recording.run(tensors);
  std::vector<Tensor> all;
  for (size_t i = 0; i < results; ++i) all.push_back(recording.output(i).clone());
  return all;
}

void expect_all_near(const std::vector<Tensor>& got, const std::vector<Tensor>& want,
                     double tolerance) {
  const char* names[] = {"outputs", "c", "h", "dx", "dc", "dh", "dkernel", "dbias"};
  ASSERT_EQ(got.size(), std::size(names));
  ASSERT_EQ(want.size(), std::size(names));
  for (size_t i = 0; i < got.size(); ++i) expect_near(got[i], want[i], tolerance, names[i]);
}

class StepClips : public testing::TestWithParam<ClipCase> {};
INSTANTIATE_TEST_SUITE_P(Cells, StepClips, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(StepClips, FusedStepsAndRecordingsAgree) {
  for (DType type : {DType::float32, DType::float64}) {
    Variables vars{Seed{1}, type};
    const BasicLSTMCell cell{vars, "lstm", kInputs, kUnits, GetParam().options};
    ASSERT_TRUE(cell.is_fused());
    randomize(vars);
    const auto steps = eagerly(Way::by_steps, cell, vars);
    // Roundings of sums of up to 20 products of a few units, through five steps.
    const double tolerance = type == DType::float32 ? 2e-5 : 1e-13;
    expect_all_near(eagerly(Way::fused, cell, vars), steps, tolerance);
    expect_all_near(recorded(Way::fused, cell, vars), steps, tolerance);
    for (int threads : {1, 2, 3})
      expect_all_near(recorded(Way::by_steps, cell, vars, threads), steps, 0);

    // The clip binds: without it gradients are others.
    Variables free_vars{Seed{1}, type};
    const BasicLSTMCell free{free_vars, "lstm", kInputs, kUnits};
    randomize(free_vars);
    const auto unclipped = eagerly(Way::fused, free, free_vars);
    double most = 0;
    const Tensor a = unclipped[6].cast(DType::float64), b = steps[6].cast(DType::float64);
    for (size_t i = 0; i < a.flat<double>().size(); ++i)
      most = std::max(most, std::abs(a.flat<double>()[i] - b.flat<double>()[i]));
    EXPECT_GT(most, 0.1);
  }
}

// A cell clip with the gradient zero is a function like any other: its gradient is its derivative.
TEST(CellClip, GradientsAreDerivatives) {
  for (Way way : {Way::fused, Way::by_steps}) {
    Variables vars{Seed{1}, DType::float64};
    const BasicLSTMCell cell{vars, "lstm", 2, 3, {.cell_clip = 0.35}};
    randomize(vars);
    expect_gradients(
        [&](std::span<const Value> in) {
          const CellState first{{in[1], in[2]}};
          const auto r = way == Way::fused ? cell.sequence(in[0], first)
                                           : cell.RNNCell::sequence(in[0], first);
          Value loss =
              reduce_sum(r.outputs * r.outputs.graph().constant(normal(r.outputs.shape(), 50)));
          for (const Value& v : r.state.values)
            loss = loss + reduce_sum(v * v.graph().constant(normal(v.shape(), 51)));
          return loss;
        },
        {normal({3, 2, 2}, 1), normal({2, 3}, 2), normal({2, 3}, 3)}, &vars);
  }
}

TEST(CellClip, StraightThroughIsTheGradientWithoutAClip) {
  // c' = c sigmoid(0) + 0 with kernel and bias 0.
  for (auto mode : {CellClipGradient::zero, CellClipGradient::straight_through}) {
    Variables vars{Seed{1}, DType::float64};
    const BasicLSTMCell cell{
        vars,
        "lstm",
        1,
        2,
        {.forget_bias = 0, .kernel = zeros(), .cell_clip = 1, .cell_clip_gradient = mode}};
    GradientTape tape;
    const Value c = tape.input(Tensor::of<double>({1, 2}, {1, 4}));
    const Value x = tape.input(Tensor({1, 1}, DType::float64));
    const auto [output, state] = cell.step(x, {{c, cell.zero_state(x).values[1]}});
    expect_near(state.values[0].tensor(), Tensor::of<double>({1, 2}, {0.5, 1}), 0);
    const Value xs[] = {c};
    const double passed = mode == CellClipGradient::zero ? 0 : 0.5;
    expect_near(gradients(reduce_sum(state.values[0]), xs)[0].tensor(),
                Tensor::of<double>({1, 2}, {0.5, passed}), 0);
  }
}

// ---------------------------------------------------------------- a projection, and its clip

TEST(ProjClip, TheGradientIsZeroOrStraightThrough) {
  // c' = c sigmoid(0), h' = tanh(c') sigmoid(0) (1, 10), with kernel and bias 0.
  const double m = std::tanh(1.0) / 2, slope = (1 - 4 * m * m) / 4;  // of m by c
  for (auto mode : {CellClipGradient::zero, CellClipGradient::straight_through}) {
    Variables vars{Seed{1}, DType::float64};
    const BasicLSTMCell cell{vars,
                             "lstm",
                             1,
                             1,
                             {.forget_bias = 0,
                              .kernel = zeros(),
                              .num_proj = 2,
                              .proj_clip = 0.5,
                              .proj_clip_gradient = mode}};
    const Variable projection = vars.at("lstm/projection/kernel");
    vars.assign(projection, Tensor::of<double>({1, 2}, {1, 10}));
    EXPECT_EQ(vars.at("lstm/kernel").shape(), Shape({1 + 2, 4}));
    EXPECT_EQ(cell.state_sizes(), std::vector<int64_t>({1, 2}));
    GradientTape tape;
    const Value x = tape.input(Tensor({1, 1}, DType::float64));
    const Value c = tape.input(Tensor::of<double>({1, 1}, {2}));
    const auto [output, state] = cell.step(x, {{c, cell.zero_state(x).values[1]}});
    expect_near(output.tensor(), Tensor::of<double>({1, 2}, {m, 0.5}), 1e-15);
    expect_near(state.values[1].tensor(), output.tensor(), 0);
    const Value xs[] = {c, tape.read(projection)};
    const Values d = gradients(reduce_sum(output), xs);
    const double passed = mode == CellClipGradient::zero ? 0 : 1;
    expect_near(d[0].tensor(), Tensor::of<double>({1, 1}, {slope * (1 + 10 * passed)}), 1e-15);
    expect_near(d[1].tensor(), Tensor::of<double>({1, 2}, {m, m * passed}), 1e-15);
  }
}

// Of a whole sequence in a stack, where no number is so near a limit that a quotient would cross
// it.
TEST(ProjClip, GradientsAreDerivatives) {
  Variables vars{Seed{1}, DType::float64};
  const auto projected = [&](const char* name, int64_t inputs) {
    return std::make_shared<BasicLSTMCell>(
        vars, name, inputs, 4,
        BasicLSTMCellOptions{.cell_clip = 0.45,
                             .step_clip = {.gates = 1e6, .state = 1e6},
                             .num_proj = 3,
                             .proj_clip = 0.2});
  };
  const MultiRNNCell cell({projected("below", 2), projected("above", 3)});
  EXPECT_FALSE(cell.is_fused());
  randomize(vars);
  bool clips = false;
  expect_gradients(
      [&](std::span<const Value> in) {
        const auto r = cell.sequence(in[0], {{in[1], in[2], in[3], in[4]}});
        for (double h : r.outputs.tensor().flat<double>()) {
          EXPECT_LE(std::abs(h), 0.2);
          clips |= std::abs(h) == 0.2;
        }
        Value loss =
            reduce_sum(r.outputs * r.outputs.graph().constant(normal(r.outputs.shape(), 50)));
        for (const Value& v : r.state.values)
          loss = loss + reduce_sum(v * v.graph().constant(normal(v.shape(), 51)));
        return loss;
      },
      {normal({3, 2, 2}, 1), normal({2, 4}, 2), normal({2, 3}, 3), normal({2, 4}, 4),
       normal({2, 3}, 5)},
      &vars);
  EXPECT_TRUE(clips);
}

// With an identity for the inputs, the gradient of x is that of the gates.
TEST(BasicRNNCell, HoldsALargeUpstreamAtEveryStep) {
  for (bool limited : {false, true}) {
    Variables vars{Seed{1}, DType::float64};
    const int64_t units = 4;
    const StepClip clip = limited ? StepClip{.gates = 0.25} : StepClip{};
    const BasicRNNCell cell{vars, "rnn", units, units, {.step_clip = clip}};
    Tensor kernel = normal({2 * units, units}, 4);
    for (int64_t i = 0; i < units * units; ++i)
      kernel.flat<double>()[static_cast<size_t>(i)] = i / units == i % units ? 1 : 0;
    vars.assign(vars.at("rnn/kernel"), kernel);
    GradientTape tape;
    const Value x = tape.input(normal({6, 3, units}, 1, 0.1));
    const auto r = cell.sequence(x, cell.zero_state(unstack(x)[0]));
    const Value xs[] = {x};
    const Tensor d = gradients(reduce_sum(unstack(r.outputs)[4]) * 1e6, xs)[0].tensor();
    for (size_t t = 0; t < 5; ++t) {
      double most = 0;
      for (size_t i = 0; i < 12; ++i) most = std::max(most, std::abs(d.flat<double>()[t * 12 + i]));
      if (limited)
        EXPECT_LE(most, 0.25) << t;
      else
        EXPECT_GT(most, 100) << t;
    }
  }
}

// What each step hands back, seen by a tap: an identity whose gradient is asked for.
TEST(BasicRNNCell, HandsBackNoMoreThanTheLimit) {
  Variables vars{Seed{1}, DType::float64};
  const BasicRNNCell cell{vars, "rnn", 2, 4, {.step_clip = {.state = 0.5}}};
  randomize(vars);
  GradientTape tape;
  const Value x = tape.input(normal({5, 3, 2}, 1));
  CellState state{{tape.input(normal({3, 4}, 2))}};
  Values taps;
  for (const Value& row : unstack(x)) {
    taps.push_back(state.values[0]);
    state = cell.step(row, state).state;
  }
  const Values d = gradients(reduce_sum(state.values[0]) * 1e6, taps);
  for (size_t t = 0; t < d.size(); ++t) {
    const auto g = d[t].tensor();
    for (size_t row = 0; row < 3; ++row) {
      double squares = 0;
      for (size_t k = 0; k < 4; ++k) squares += std::pow(g.flat<double>()[row * 4 + k], 2);
      EXPECT_LE(std::sqrt(squares), 0.5 * (1 + 1e-12)) << t;
    }
  }
  EXPECT_NE(d[0].tensor().flat<double>()[0], 0);
}

// ---------------------------------------------------------------- values

Tensor gradient_of(const std::function<Value(Value)>& f, const Tensor& at) {
  GradientTape tape;
  const Value x = tape.input(at);
  const Value xs[] = {x};
  return gradients(f(x), xs)[0].tensor();
}

TEST(ClipGradient, ByValueClampsAndKeepsNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor upstream = Tensor::of<double>({5}, {3, -3, 0.5, nan, 1});
  const Tensor d = gradient_of(
      [&](Value x) {
        const Value same = clip_gradient_by_value(x, 1);
        expect_near(same.tensor(), x.tensor(), 0);
        return reduce_sum(same * upstream);
      },
      normal({5}, 1));
  EXPECT_EQ(d.flat<double>()[0], 1);
  EXPECT_EQ(d.flat<double>()[1], -1);
  EXPECT_EQ(d.flat<double>()[2], 0.5);
  EXPECT_TRUE(std::isnan(d.flat<double>()[3]));
  EXPECT_EQ(d.flat<double>()[4], 1);
}

TEST(ClipGradient, ByRowNormMeasuresRowsOfAllValuesTogether) {
  const double inf = std::numeric_limits<double>::infinity();
  GradientTape tape;
  const Value a = tape.input(normal({4, 1}, 1)), b = tape.input(normal({4, 2, 1}, 2)),
              unused = tape.input(normal({4}, 3));
  const Value both[] = {a, b, unused};
  const Values same = clip_gradient_by_row_norm(both, 5);
  // Rows of lengths 15, 3, infinity and 0.
  const Tensor up_a = Tensor::of<double>({4, 1}, {5, 1, inf, 0});
  const Tensor up_b = Tensor::of<double>({4, 2, 1}, {10, 10, 2, 2, 1, 1, 0, 0});
  const Value xs[] = {a, b, unused};
  const Values d = gradients(reduce_sum(same[0] * up_a) + reduce_sum(same[1] * up_b), xs);
  expect_near(same[1].tensor(), b.tensor(), 0);
  const auto da = d[0].tensor(), db = d[1].tensor();
  EXPECT_DOUBLE_EQ(da.flat<double>()[0], 5.0 / 3);
  EXPECT_DOUBLE_EQ(db.flat<double>()[1], 10.0 / 3);
  for (size_t i : {1u, 2u, 3u}) EXPECT_EQ(da.flat<double>()[i], up_a.flat<double>()[i]);
  for (size_t i = 2; i < 8; ++i) EXPECT_EQ(db.flat<double>()[i], up_b.flat<double>()[i]);
  expect_near(d[2].tensor(), Tensor({4}, DType::float64), 0);
}

TEST(ClipGradient, FloatsWhoseSquaresOverflowAreScaled) {
  GradientTape tape;
  const Value x = tape.input(Tensor({1, 2}));
  const Value same = clip_gradient_by_row_norm(std::vector<Value>{x}, 1)[0];
  const Value xs[] = {x};
  const Tensor d = gradients(reduce_sum(same * 1e30), xs)[0].tensor();
  for (float g : d.flat<float>()) EXPECT_NEAR(g, std::sqrt(0.5), 1e-6);  // a few roundings
}

// Only the gradient is clipped, so it is no derivative; but the gradient's gradient is one.
TEST(ClipGradient, GradientsOfClippedGradientsAreDerivatives) {
  expect_gradients(
      [](std::span<const Value> in) {
        const Values same = clip_gradient_by_row_norm(std::vector<Value>{in[0]}, 1);
        const Value held = clip_gradient_by_value(in[1], 0.8);
        const Value y = reduce_sum(same[0] * in[2]) + reduce_sum(held * in[2]);
        const Value xs[] = {in[0], in[1]};
        const Values d = gradients(y, xs);
        return reduce_sum(square(d[0]) * in[1]) + reduce_sum(d[1] * in[0]);
      },
      {normal({3, 2}, 1), normal({3, 2}, 2), normal({3, 2}, 3)});
}

TEST(ClipErrors, NameTheLimit) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Variables vars;
  const auto lstm_with = [&](BasicLSTMCellOptions options) {
    return [&vars, options] { BasicLSTMCell(vars, "lstm", 2, 3, options); };
  };
  expect_error(lstm_with({.cell_clip = 0}), {"BasicLSTMCell", "cell_clip is 0", "infinity"});
  expect_error(lstm_with({.cell_clip = nan}), {"cell_clip is nan"});
  expect_error(lstm_with({.step_clip = {.gates = -1}}), {"step_clip is -1"});
  expect_error(lstm_with({.num_proj = 2, .proj_clip = -1}), {"proj_clip is -1", "more than 0"});
  expect_error(lstm_with({.proj_clip = 3}), {"proj_clip is 3", "give num_proj"});
  expect_error(lstm_with({.num_proj = -2}), {"num_proj is -2", "0 for no projection"});
  expect_error([&] { BasicRNNCell(vars, "rnn", 2, 3, {.step_clip = {.state = nan}}); },
               {"BasicRNNCell", "step_clip is nan"});
  EXPECT_EQ(vars.size(), 0u);

  GradientTape tape;
  const Value x = tape.input(Tensor({2, 3})), y = tape.input(Tensor({3, 3}));
  expect_error([&] { clip_gradient_by_value(x, -1); }, {"clip_gradient_by_value", "0 or more"});
  expect_error([&] { clip_gradient_by_row_norm({}, 1); },
               {"clip_gradient_by_row_norm", "no values"});
  expect_error(
      [&] {
        clip_gradient_by_row_norm(std::vector<Value>{x, y}, 1);
      },
      {"clip_gradient_by_row_norm", "rows", "[2, 3]", "[3, 3]"});
  expect_error([&] { straight_through(x, y); }, {"straight_through", "[2, 3]", "[3, 3]"});
}

}  // namespace
}  // namespace rein::test
