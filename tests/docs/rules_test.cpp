// The code of docs/rules.md.
#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace rein
