// The code of docs/gradient-processing.md.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "rein/io/state_file.h"
#include "rein/rein.h"
#include "support/temporary_folder.h"

namespace rein {
namespace {

struct Model {
  Variables vars{Seed{1}};
  Variable embedding = vars.add("embedding", {4, 3}, random_normal());
  Variable w = vars.add("w", {3, 1}, random_normal());
  Tensor x = Tensor::of<int32_t>({2}, {1, 3}), y = Tensor::of<float>({2, 1}, {90, -70});

  Value cost(Value x_, Value y_) const {
    return reduce_mean(squared_error(y_, matmul(gather(embedding, x_), w)));
  }
};

std::vector<float> numbers(Variables& vars) {
  std::vector<float> all;
  for (size_t v = 0; v < vars.size(); ++v)
    for (float f : vars.values<float>(v)) all.push_back(f);
  return all;
}

TEST(GradientProcessing, InsideTheSequence) {
  Variables vars{Seed{1}};
  const BasicLSTMCell cell{
      vars, "lstm", 28, 128, {.cell_clip = 50, .step_clip = {.gates = 10, .state = 30}}};
  GradientTape tape;
  const Value x = tape.input(Tensor({1, 1, 28}));
  const Value cells = tape.input(Tensor::of<float>({1, 1}, {100})) + Tensor({1, 128});
  const Value h = tape.input(Tensor({1, 128}));
  // The forget gate is sigmoid(1): cells of 100 would be at 73.
  const auto [outputs, last, state] = cell.sequence(x, {{cells, h}});
  for (float c : state.values[0].tensor().flat<float>()) EXPECT_EQ(c, 50);
}

TEST(GradientProcessing, CellsOnTopOfEachOther) {
  Variables vars{Seed{1}};
  const BasicLSTMCellOptions clipped{.step_clip = {.state = 30}};
  const MultiRNNCell stack{{std::make_shared<BasicLSTMCell>(vars, "lstm_0", 28, 128, clipped),
                            std::make_shared<BasicLSTMCell>(vars, "lstm_1", 128, 64, clipped)}};
  GradientTape tape;
  const std::vector<Value> steps(3, tape.input(Tensor({5, 28})));
  auto [outputs, state] = static_rnn(stack, steps);  // outputs of the uppermost, states of all
  EXPECT_EQ(outputs.back().spec().shape, (Shape{5, 64}));
  EXPECT_EQ(state.values.size(), 4u);
  EXPECT_EQ(stack.state_names()[2], "cell_1/c");
}

TEST(GradientProcessing, TheFourWaysToTrain) {
  std::vector<std::vector<float>> results;
  {
    Model model;
    Variables& vars = model.vars;
    AdamOptimizer optimizer;
    GradientTape tape;
    Value loss = model.cost(tape.input(model.x), tape.input(model.y));
    // (a) the gradients in your hands
    auto gvs = optimizer.compute_gradients(loss, vars);
    for (auto& [grad, var] : gvs) grad = clip_by_value(grad, -1, 1);  // or any function of yours
    optimizer.apply_gradients(gvs);
    Model untrained;
    EXPECT_NE(numbers(vars), numbers(untrained.vars));
  }
  {
    Model model;
    Variables& vars = model.vars;
    AdamOptimizer optimizer;
    GradientTape tape;
    Value loss = model.cost(tape.input(model.x), tape.input(model.y));
    // (b) all of them together
    auto [clipped, norm] = clip_by_global_norm(tape.gradient(loss, vars), 5);
    optimizer.apply_gradients(zip(clipped, vars));
    EXPECT_GT(norm, 5);
    results.push_back(numbers(vars));
  }
  {
    Model model;
    Variables& vars = model.vars;
    const Tensor &x = model.x, &y = model.y;
    auto cost = [&](Value x_, Value y_) { return model.cost(x_, y_); };
    // (c) decided once, recorded and replayed
    Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{});
    StepInfo info = train(x, y);
    EXPECT_TRUE(info.clipped);
    results.push_back(numbers(vars));
  }
  {
    Model model;
    Variables& vars = model.vars;
    GradientTape tape;
    Value loss = model.cost(tape.input(model.x), tape.input(model.y));
    // (d) a decorator around any optimizer
    auto opt = clip_gradients_by_norm(AdamOptimizer{}, 5);  // the global norm
    opt.minimize(loss, vars);
    results.push_back(numbers(vars));
  }
  // (b) and (d) round the clipped gradient to float before the rule, (c) multiplies within it: half
  // an ulp of a step of 1e-3.
  for (const auto& result : results)
    for (size_t i = 0; i < result.size(); ++i) EXPECT_NEAR(result[i], results[0][i], 1e-6);
}

TEST(GradientProcessing, TransformsOfYourOwn) {
  Model model;
  AnyTransform process = chain(
      MeasureNorm{},                                        // the norm before ...
      [](const Gradient& g, const std::string& variable) {  // each gradient that is there
        return variable == "embedding" ? clip_by_norm(g, 1) : g;
      },
      [](Gradients& all, const Variables&, StepInfo& info) {  // or all of them, in place
        if (info.step <= 100) all.scale *= 0.1;
      },
      MeasureNorm{});  // ... and after
  Step train = record([&](Value x, Value y) { return model.cost(x, y); }, model.vars, process,
                      GradientDescent{.learning_rate = 1.0});
  const auto before = model.embedding.read();
  const StepInfo info = train(model.x, model.y);
  EXPECT_LT(info.clipped_norm, info.norm);
  double moved = 0;
  const auto after = model.embedding.read();
  for (size_t i = 0; i < 12; ++i)
    moved += std::pow(double{after.flat<float>()[i]} - double{before.flat<float>()[i]}, 2);
  EXPECT_NEAR(std::sqrt(moved), 0.1, 1e-6);  // clipped to 1, times 0.1
}

// The norm of each variable's gradient is at most `growth` times that of the last step.
struct LimitGrowth {
  static constexpr std::string_view name = "LimitGrowth";
  double growth = 2;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("growth", self.growth);
  }

  struct State {
    std::vector<double> last;  // the norm of each variable, 0 before its first gradient
    Norms norms;               // of this step
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("last", self.last);  // what outlives a step
    }
  };

  State init(const Variables& variables) const {
    if (!(growth >= 1)) throw InvalidArgument(name, "growth must be a number from 1 on", Where{});
    return {.last = std::vector<double>(variables.size()), .norms = Norms(variables)};
  }

  void update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
    state.norms.take(gradients);
    state.norms.report_non_finite(gradients, info);
    for (size_t i = 0; i < gradients.size(); ++i) {
      double& norm = state.norms.of_variable[i];
      const double limit = growth * state.last[i];
      if (gradients.kind(i) == Gradients::Kind::absent) continue;
      if (limit == 0 || !std::isfinite(norm) || norm <= limit) continue;
      visit_float(gradients.dtype(), [&](auto zero) {
        using T = decltype(zero);
        for (T& x : gradients.stored<T>(i)) x = static_cast<T>(x * (limit / norm));
      });
      norm = limit;
      info.clipped = true;
    }
  }

  void remember(State& state) const {
    for (size_t i = 0; i < state.last.size(); ++i)
      if (const double norm = state.norms.of_variable[i]; norm > 0 && std::isfinite(norm))
        state.last[i] = norm;
  }

  bool may_refuse() const { return false; }
};
static_assert(Transform<LimitGrowth>);  // an error here names what is missing

TEST(GradientProcessing, ATransformThatRemembers) {
  struct Training {
    explicit Training(double growth)
        : step(record([this](Value x, Value y) { return model.cost(x, y); }, model.vars,
                      chain(MeasureNorm{}, LimitGrowth{growth}, MeasureNorm{},
                            [this](Gradients&, const Variables&, StepInfo& i) { i.skip = skips; }),
                      GradientDescent{.learning_rate = 1e-6})) {}
    StepInfo train(float size) {
      Tensor y = model.y.clone();
      for (float& v : y.flat<float>()) v *= size;
      return step(model.x, y);
    }
    Model model;
    bool skips = false;
    Step step;
  };
  Training one(1.5);
  const StepInfo first = one.train(1);
  EXPECT_FALSE(first.clipped);
  one.skips = true;  // is forgotten
  EXPECT_TRUE(one.train(10).clipped);
  one.skips = false;
  const StepInfo second = one.train(10);
  EXPECT_GT(second.norm, 9 * first.norm);
  EXPECT_NEAR(second.clipped_norm, 1.5 * first.norm, 1e-6 * first.norm);  // rounding to float

  const StateDict saved = one.step.state();
  EXPECT_EQ(std::get<Tensor>(saved.at("process/1/last")).shape(), (Shape{2}));
  EXPECT_EQ(std::get<double>(saved.at("settings/process/1/growth")), 1.5);
  Training other(1.5);
  other.step.load_state(saved);
  EXPECT_NEAR(other.train(10).clipped_norm, 1.5 * 1.5 * first.norm, 1e-6 * first.norm);
  EXPECT_THROW(Training(3).step.load_state(saved), InvalidArgument);

  // An infinite gradient stays as it is and is not remembered; an absent one stays absent.
  Variables vars;
  for (const char* name : {"a", "b"}) vars.add(name, {2}, zeros());
  const LimitGrowth limit{.growth = 1};
  LimitGrowth::State state = limit.init(vars);
  Gradients gradients(vars);
  const float kInf = std::numeric_limits<float>::infinity();
  for (const auto& [x, expected] : {std::pair{5.F, 5.F}, {kInf, kInf}, {10.F, 5.F}}) {
    gradients.set(0, Tensor::of<float>({2}, {x, 0}));
    StepInfo info;
    limit.update(gradients, state, vars, info);
    EXPECT_EQ(info.finite, x < kInf);
    limit.remember(state);
    EXPECT_EQ(gradients.get(0).dense().flat<float>()[0], expected);
    EXPECT_FALSE(gradients.get(1));
  }
  EXPECT_THROW(LimitGrowth{.growth = 0.5}.init(vars), InvalidArgument);
}

TEST(GradientProcessing, LimitsAndGroups) {
  Variables vars;
  for (const char* name : {"embedding", "lstm/kernel", "lstm/bias", "out/weights"})
    vars.add(name, {2}, zeros());
  ClipByNorm warming{.clip_norm = [](int64_t step) { return step < 1000 ? 1.0 : 5.0; }};
  ClipByNorm for_sums{.clip_norm = per_sample(0.01)};  // a limit for each example of the batch
  Groups groups{{{"embedding*", ClipByNorm{.clip_norm = 1}},
                 {"*/bias*", chain()},  // not clipped
                 {"*", ClipByGlobalNorm{.clip_norm = 5}}}};
  AnyTransform not_the_last = except("out*", AdaptiveGradClip{.clipping = 0.01});
  AnyTransform not_at_first = conditionally_transform(ClipByGlobalNorm{.clip_norm = 1},
                                                      [](int64_t before) { return before >= 100; });
  const AnyTransform all = chain(warming, for_sums, groups, not_the_last, not_at_first);
  auto state = all.init(vars);
  Gradients gradients(vars);
  for (size_t i = 0; i < vars.size(); ++i) gradients.set(i, Tensor::of<float>({2}, {3, 4}));
  StepInfo info{.step = 1, .examples = 50};
  all.update(gradients, state, vars, info);
  // 0.5 is the limit of the batch; parameters are 0, so that adaptive clipping leaves 1e-5.
  EXPECT_NEAR(gradients.get(3).dense().flat<float>()[0], 0.3, 1e-6);
  EXPECT_NEAR(gradients.get(2).dense().flat<float>()[0], 0.6e-5, 1e-9);
}

TEST(GradientProcessing, LeavingOutAStep) {
  Model model;
  AnyTransform process = chain(CheckFinite{.policy = NonFinite::skip, .most_skips = 10},
                               ClipByGlobalNorm{.clip_norm = 5});
  Step train = record([&](Value x, Value y) { return model.cost(x, y); }, model.vars, process,
                      GradientDescent{});
  const auto before = numbers(model.vars);
  model.y.flat<float>()[0] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(train(model.x, model.y).skip);
  EXPECT_EQ(numbers(model.vars), before);
}

TEST(GradientProcessing, WhereItBegan) {
  Model model;
  const auto cost = [&](Value x, Value y) { return model.cost(x, y); };
  Step train = record(cost, model.vars, chain(CheckFinite{.policy = NonFinite::skip}), Adam{});
  model.y.flat<float>()[0] = std::numeric_limits<float>::infinity();
  std::ostringstream out;
  const std::vector<Tensor> batch = {model.x, model.y};
  if (!train.run(batch).finite)
    if (const auto origin = train.find_non_finite(batch)) out << origin->text() << "\n";
  EXPECT_EQ(out.str().find("input 1 "), 0u) << out.str();
}

TEST(GradientProcessing, WhereItBeganSeenElsewhere) {
  test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "bad.safetensors";
  const auto cost_of = [](const Model& model) {
    return [&model](Value x, Value y) { return model.cost(x, y); };
  };
  Model model, other;
  Step train =
      record(cost_of(model), model.vars, chain(CheckFinite{.policy = NonFinite::skip}), Adam{});
  train(model.x, model.y);
  model.y.flat<float>()[0] = std::numeric_limits<float>::infinity();
  const std::vector<Tensor> batch = {model.x, model.y};
  ASSERT_FALSE(train.run(batch).finite);

  StateDict bad = train.state();
  for (size_t i = 0; i < batch.size(); ++i) bad["batch/" + std::to_string(i)] = batch[i];
  save_state(file, bad);

  Step there =
      record(cost_of(other), other.vars, chain(CheckFinite{.policy = NonFinite::skip}), Adam{});
  StateDict read = load_state(file);  // in another process
  std::vector<Tensor> again;
  for (const char* name : {"batch/0", "batch/1"})
    again.push_back(std::get<Tensor>(read.extract(name).mapped()));
  there.load_state(read);  // a step of the same cost
  const auto origin = there.find_non_finite(again);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->text(), train.find_non_finite(batch)->text());
  EXPECT_EQ(numbers(other.vars), numbers(model.vars));
}

TEST(GradientProcessing, GoingBack) {
  Model model;
  Variables& vars = model.vars;
  const auto cost = [&](Value x, Value y) { return model.cost(x, y); };
  Step guarded = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{},
                        {.rollback = Rollback{.every = 100, .most_bad = 3, .rate_factor = 0.5}});
  const auto before = numbers(vars);
  guarded(model.x, model.y);
  guarded(model.x, model.y);
  EXPECT_NE(numbers(vars), before);
  model.y.flat<float>()[0] = std::numeric_limits<float>::infinity();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(guarded(model.x, model.y).rolled_back);
  EXPECT_TRUE(guarded(model.x, model.y).rolled_back);
  EXPECT_EQ(numbers(vars), before);
}

TEST(GradientProcessing, AroundTheRule) {
  Model model;
  Variables& vars = model.vars;
  const auto cost = [&](Value x, Value y) { return model.cost(x, y); };
  std::vector<float> during;
  const auto evaluate = [&] { during = numbers(vars); };
  Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}),
                      WeightAverage{.rule = Adam{}, .decay = 0.99},
                      {.sharpness = Sharpness{.rho = 0.05}, .batch_axis = 0});
  const Tensor &x = model.x, &y = model.y;
  train(x, y), train(x, y);
  train.with_averages([&] { evaluate(); });  // the parameters are their averages in there
  EXPECT_NE(during, numbers(vars));
}

TEST(GradientProcessing, MicroBatches) {
  Model model;
  Step train = record([&](Value x, Value y) { return model.cost(x, y); }, model.vars,
                      chain(ClipByGlobalNorm{.clip_norm = 5}), GradientDescent{});
  const Tensor &x1 = model.x, &x2 = model.x, &x3 = model.x;
  const Tensor &y1 = model.y, &y2 = model.y, &y3 = model.y;
  train.accumulate(x1, y1);  // computes and keeps
  train.accumulate(x2, y2);
  StepInfo info = train(x3, y3);  // one step with the mean gradient of three
  EXPECT_EQ(info.micro_batches, 3);
  EXPECT_EQ(info.step, 1);
}

TEST(GradientProcessing, SeveralRanks) {
  const auto batches_of = [](int rank) {
    const Model model;
    Tensor y = model.y.clone();
    y.flat<float>()[0] += static_cast<float>(rank);
    return std::vector<std::pair<Tensor, Tensor>>(3, {model.x, y});
  };
  std::vector<std::vector<float>> ends(2);
  run_ranks(2, [&](Communicator& ranks) {  // threads; or a communicator of your own
    Model model;                           // the same on every rank
    Step train = record([&](Value x, Value y) { return model.cost(x, y); }, model.vars,
                        chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{},
                        {.threads = 1, .communicator = &ranks});
    for (const auto& [x, y] : batches_of(ranks.rank())) train(x, y);
    ends[static_cast<size_t>(ranks.rank())] = numbers(model.vars);
  });
  Model untrained;
  EXPECT_EQ(ends[0], ends[1]);
  EXPECT_NE(ends[0], numbers(untrained.vars));
}

TEST(GradientProcessing, ClipsOfUpdates) {
  AnyRule by_rms = ClipUpdates{.rule = Adam{}, .clip = ClipByBlockRms{.threshold = 0.01}};
  AnyRule as_kaldi =
      ClipUpdates{.rule = GradientDescent{}, .clip = MaxChange{.per_variable = 0.75, .global = 2}};
  for (const auto& [rule, most] :
       {std::pair{by_rms, 0.01 * std::sqrt(12)}, std::pair{as_kaldi, 0.75}}) {
    Model model;
    const auto before = numbers(model.vars);
    Step train =
        record([&](Value x, Value y) { return model.cost(x, y); }, model.vars, chain(), rule);
    train(model.x, model.y);
    double moved = 0;
    const auto after = numbers(model.vars);
    for (size_t i = 0; i < 12; ++i)
      moved += std::pow(double{after[i]} - double{before[i]}, 2);  // the embedding
    EXPECT_GT(moved, 0);
    EXPECT_LE(std::sqrt(moved), most * (1 + 1e-6));  // rounding to float
  }
}

}  // namespace
}  // namespace rein
