// The code of docs/rules.md.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "rein/rein.h"

namespace rein {
namespace {

TEST(Rules, DifferFromVariableToVariable) {
  Variables vars{Seed{1}};
  const Variable embedding = vars.add("embedding", {4, 3}, random_normal());
  const Variable w = vars.add("w", {3, 1}, random_normal());
  const Variable bias = vars.add("out/bias", {1}, zeros());
  const auto cost = [&](Value x, Value y) {
    return reduce_mean(squared_error(y, matmul(gather(embedding, x), w) + bias));
  };
  const Tensor x = Tensor::of<int32_t>({2}, {1, 3}), y = Tensor::of<float>({2, 1}, {90, -70});
  AnyRule rule = RuleGroups{
      .groups = {{"*bias", Adam{}},
                 {"embedding*", Adagrad{.learning_rate = 0.1, .form = RuleForm::pytorch}}},
      .otherwise = AdamW{.learning_rate = Warmup{.steps = 100, .then = 1e-3}, .weight_decay = 0.1}};
  Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), rule);

  const Tensor e = embedding.read(), weights = w.read();
  train(x, y);
  // Adam's first step is the learning rate; Warmup begins with 0; rows 0 and 2 are not looked up.
  EXPECT_NEAR(std::abs(bias.read().flat<float>()[0]), 1e-3, 1e-6);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(w.read().flat<float>()[i], weights.flat<float>()[i]);
  for (size_t i = 0; i < 12; ++i)
    EXPECT_EQ(embedding.read().flat<float>()[i] != e.flat<float>()[i], i / 3 % 2 == 1) << i;
}

struct Line {
  Variables vars{Seed{1}};
  Variable w = vars.add("w", {2, 1}, random_normal());
  Tensor x = Tensor::of<float>({1, 2}, {1, 3}), y = Tensor::of<float>({1, 1}, {90});
  Value cost(Value x_, Value y_) const { return mean_squared_error(y_, matmul(x_, w)); }
};

TEST(Rules, ARateThatIsToldAMetric) {
  Line line;
  Variables& vars = line.vars;
  const auto cost = [&](Value x, Value y) { return line.cost(x, y); };
  const std::vector<std::pair<Tensor, Tensor>> batches(2, {line.x, line.y});
  const int64_t epochs = 4;
  const auto validation_loss = [] { return 1.0; };
  ReduceOnPlateau rate{{.initial = 1e-3, .factor = 0.5, .patience = 3}};
  Step train = record(cost, vars, chain(), Adam{.learning_rate = rate});
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    for (const auto& [x, y] : batches) train(x, y);
    rate.feed(validation_loss());  // once for every evaluation
  }
  EXPECT_EQ(train(line.x, line.y).learning_rate, 1e-3);  // the first is the best, three are borne
  rate.feed(1);
  EXPECT_EQ(train(line.x, line.y).learning_rate, 0.5e-3);

  Line other;
  ReduceOnPlateau again{{.initial = 1e-3, .factor = 0.5, .patience = 3}};
  Step going_on = record([&](Value x, Value y) { return other.cost(x, y); }, other.vars, chain(),
                         Adam{.learning_rate = again});
  going_on.load_state(train.state());
  EXPECT_EQ(again.rate(), 0.5e-3);
}

TEST(Rules, GoingOnWithOtherSettings) {
  Line line;
  Variables& vars = line.vars;
  const Tensor &x = line.x, &y = line.y;
  const auto cost = [&](Value x_, Value y_) { return line.cost(x_, y_); };
  Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{});
  train(x, y);
  const StateDict saved = train.state();
  Step slower = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 1}),
                       Adam{.learning_rate = 1e-4});  // was 5, and 1e-3
  slower.load_state(saved, SavedSettings::do_not_matter);
  EXPECT_THROW(slower.load_state(saved), InvalidArgument);
  const Tensor before = line.w.read();
  const StepInfo info = slower(x, y);
  EXPECT_EQ(info.step, 2);
  EXPECT_NEAR(info.clipped_norm, 1, 1e-9);
  // Its second step in the same direction: m and v of the file, so that it is a learning rate long.
  EXPECT_NEAR(std::abs(line.w.read().flat<float>()[0] - before.flat<float>()[0]), 1e-4, 3e-5);

  // What is remembered must be the same.
  Step others[] = {record(cost, vars, chain(AutoClip{}), Adam{}),
                   record(cost, vars, chain(), Momentum{}),
                   record(cost, vars, chain(), Adam{}, {.rollback = Rollback{}})};
  for (Step& other : others)
    EXPECT_THROW(other.load_state(saved, SavedSettings::do_not_matter), InvalidArgument);
}

}  // namespace
}  // namespace rein
