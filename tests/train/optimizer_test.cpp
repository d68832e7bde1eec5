// The front with TensorFlow's names.
#include "rein/train/optimizer.h"

#include <gtest/gtest.h>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

using test::error_of;
using test::names_place;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Optimizer, ComputeGradientsPairsAllVariablesInTheirOrder) {
  SmallModel model;
  GradientTape tape;
  const Value loss = model.loss_on(tape);
  const AdamOptimizer optimizer;
  const auto pairs = optimizer.compute_gradients(loss, model.vars);
  ASSERT_EQ(pairs.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(pairs[i].var, model.vars[i]);
  EXPECT_TRUE(pairs[0].grad.is_dense());
  EXPECT_FALSE(pairs[1].grad);  // unused
  EXPECT_TRUE(pairs[3].grad.is_sparse());
  GradientTape other;
  const auto used = optimizer.compute_gradients(model.loss_on(other));
  ASSERT_EQ(used.size(), 3u);  // what the tape has read
  EXPECT_EQ(used[0].var, model.w);
  EXPECT_EQ(used[1].var, model.b);
  EXPECT_EQ(used[2].var, model.e);
}

TEST(Optimizer, MinimizeIsComputeThenApply) {
  SmallModel one, other;
  AdamOptimizer a, b;
  for (int i = 0; i < 3; ++i) {
    GradientTape tape, second;
    a.minimize(one.loss_on(tape), one.vars);
    b.apply_gradients(b.compute_gradients(other.loss_on(second), other.vars));
  }
  EXPECT_EQ(one.weights(), other.weights());
  EXPECT_NE(one.weights(), SmallModel().weights());
}

TEST(Optimizer, AgreesWithARecordedStepToTheBit) {
  for (const AnyRule& rule :
       {AnyRule(GradientDescent{}), AnyRule(Momentum{.use_nesterov = true}), AnyRule(Adam{})}) {
    SmallModel eager, recorded;
    RuleOptimizer optimizer(rule);
    Step train = record(recorded.cost(), recorded.vars, chain(), rule);
    for (int i = 0; i < 4; ++i) {
      GradientTape tape;
      optimizer.minimize(eager.loss_on(tape), eager.vars);
      train(recorded.x, recorded.y, recorded.ids);
    }
    EXPECT_EQ(eager.weights(), recorded.weights()) << rule.name();
  }
}

TEST(Optimizer, ATeamChangesNoBit) {
  SmallModel one, other;
  ThreadTeam team(3);
  AdamOptimizer alone, shared{{}, &team};
  for (int i = 0; i < 3; ++i) {
    GradientTape tape, second;
    alone.minimize(one.loss_on(tape));
    shared.minimize(other.loss_on(second));
  }
  EXPECT_EQ(one.weights(), other.weights());
}

TEST(Optimizer, SomeVariablesOnly) {
  SmallModel model;
  const auto before = model.weights();
  GradientDescentOptimizer optimizer;
  GradientTape tape;
  auto pairs = optimizer.compute_gradients(model.loss_on(tape), model.vars);
  const GradAndVar only_b[] = {pairs[2]};
  optimizer.apply_gradients(only_b);
  const auto after = model.weights();
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[2], before[2]);
  EXPECT_EQ(after[3], before[3]);
}

TEST(Optimizer, Names) {
  EXPECT_EQ(AdamOptimizer().name(), "Adam");
  EXPECT_EQ(MomentumOptimizer().name(), "Momentum");
  EXPECT_EQ(RuleOptimizer(GradientDescent{}).name(), "GradientDescent");
  EXPECT_EQ(clip_gradients_by_norm(AdamOptimizer(), 1).name(), "ClipByNormAdam");
}

TEST(OptimizerErrors, EmptyListAndAllAbsent) {
  SmallModel model;
  AdamOptimizer optimizer;
  EXPECT_TRUE(has(error_of([&] { optimizer.apply_gradients({}); }), "empty"));
  GradientTape tape;
  const Value x = tape.input(model.x);
  const int line = __LINE__ + 1;
  const auto minimize = [&] { optimizer.minimize(reduce_sum(square(x)), model.vars); };
  const std::string absent = error_of(minimize);
  EXPECT_TRUE(has(absent, "all gradients are absent")) << absent;
  for (const char* name : {"'w'", "'unused'", "'b'", "'e'"}) EXPECT_TRUE(has(absent, name));
  EXPECT_TRUE(names_place(minimize, __FILE__, line));
  GradientTape other;
  const Value alone = reduce_sum(square(other.input(model.x)));
  EXPECT_TRUE(has(error_of([&] { optimizer.minimize(alone); }), "no variables"));
  Variables none;
  EXPECT_THROW((void)optimizer.compute_gradients(reduce_sum(x), none), InvalidArgument);
}

TEST(OptimizerErrors, NothingIsChangedByABadList) {
  SmallModel model, other;
  AdamOptimizer optimizer;
  const Gradient good = tensor({3, 2}, noise(6)), bias = vector({1, 1});
  const std::vector<GradsAndVars> bad = {
      {{good, model.w}, {bias, model.b}, {good, model.w}},              // twice
      {{good, model.w}, {bias, other.b}},                               // of another set
      {{good, model.w}, {vector({1, 2, 3}), model.b}},                  // shape
      {{good, model.w}, {vector({1, 2}, DType::float64), model.b}},     // dtype
      {{good, model.w}, {rows({7}, {5, 2}, {1, 2}), model.e}},          // row
      {{good, model.w}, {rows({1}, {4, 2}, {1, 2}), model.e}},          // dense shape
      {{good, model.w}, {Tensor::of<int32_t>({2}, {1, 1}), model.b}}};  // integers
  const auto before = model.weights();
  for (const auto& list : bad) {
    EXPECT_THROW(optimizer.apply_gradients(list), InvalidArgument);
    EXPECT_EQ(model.weights(), before);
  }
  const std::string shape = error_of([&] { optimizer.apply_gradients(bad[2]); });
  EXPECT_TRUE(has(shape, "'b'") && has(shape, "[2]") && has(shape, "[3]")) << shape;
  // Nor has the optimizer remembered anything.
  SmallModel fresh;
  AdamOptimizer unused;
  GradientTape tape, second;
  optimizer.minimize(model.loss_on(tape));
  unused.minimize(fresh.loss_on(second));
  EXPECT_EQ(model.weights(), fresh.weights());
}

TEST(OptimizerErrors, ItServesOneSetOfVariables) {
  SmallModel model, other;
  AdamOptimizer optimizer;
  GradientTape tape;
  optimizer.minimize(model.loss_on(tape));
  const auto before = other.weights();
  GradientTape second;
  const Value loss = other.loss_on(second);
  EXPECT_TRUE(has(error_of([&] { optimizer.minimize(loss); }), "other Variables"));
  EXPECT_EQ(other.weights(), before);
  add_variable(model.vars, "late", {1}, {1});
  GradientTape third;
  const Value again = model.loss_on(third);
  EXPECT_TRUE(has(error_of([&] { optimizer.minimize(again); }), "added"));
}

TEST(OptimizerErrors, Settings) {
  SmallModel model;
  GradientDescentOptimizer optimizer{{.learning_rate = -1}};
  GradientTape tape;
  const Value loss = model.loss_on(tape);
  const std::string text = error_of([&] { optimizer.minimize(loss); });
  EXPECT_TRUE(has(text, "learning_rate") && has(text, "-1")) << text;
  EXPECT_TRUE(names_place([&] { optimizer.minimize(loss); }, __FILE__, __LINE__));
  const std::string clip = error_of([] { clip_gradients_by_norm(AdamOptimizer(), -5); });
  EXPECT_TRUE(has(clip, "clip_gradients_by_norm") && has(clip, "-5")) << clip;
  EXPECT_THROW(clip_gradients_by_norm(AdamOptimizer(), std::nan("")), InvalidArgument);
}

TEST(Zip, PairsOrRefuses) {
  SmallModel model;
  const std::vector<Gradient> three(3), four(4);
  EXPECT_EQ(zip(four, model.vars)[2].var, model.b);
  EXPECT_TRUE(has(error_of([&] { zip(three, model.vars); }), "3 gradients for 4 variables"));
}

TEST(TransformGradients, KeepsPlacesAndLength) {
  SmallModel model;
  const auto before = model.weights();
  auto drop = transform_gradients(GradientDescentOptimizer(), [](std::span<const Gradient> list) {
    std::vector<Gradient> out(list.begin(), list.end());
    EXPECT_FALSE(out[1]);
    out[0] = {};
    return out;
  });
  GradientTape tape;
  drop.minimize(model.loss_on(tape), model.vars);
  EXPECT_EQ(model.weights()[0], before[0]);
  EXPECT_NE(model.weights()[2], before[2]);
  auto shorter =
      transform_gradients(GradientDescentOptimizer(), [](std::span<const Gradient> list) {
        return std::vector<Gradient>(list.begin(), list.end() - 1);
      });
  GradientTape second;
  const Value loss = model.loss_on(second);
  EXPECT_TRUE(has(error_of([&] { shorter.minimize(loss, model.vars); }), "3 gradients for 4"));
}

// A step of a model whose loss grows, so that AutoClip sees other norms each time.
template <class O>
void train(O& optimizer, SmallModel& model, int t) {
  GradientTape tape;
  optimizer.minimize(model.loss_on(tape) * (1.0 + t % 3), model.vars);
}

template <class Make>
void expect_to_go_on(const Make& make) {
  SmallModel all, first, second;
  auto whole = make(), before = make(), after = make();
  for (int t = 0; t < 8; ++t) train(whole, all, t);
  for (int t = 0; t < 4; ++t) train(before, first, t);
  const StateDict saved = before.state();
  after.load_state(saved, second.vars);
  EXPECT_EQ(bits(after.state()), bits(saved));
  for (int t = 4; t < 8; ++t) train(after, second, t);
  EXPECT_EQ(bits(after.state()), bits(whole.state()));
  EXPECT_EQ(second.weights(), all.weights());
}

TEST(Decorators, GoOnFromWhatWasSaved) {
  expect_to_go_on([] { return clip_gradients_by_norm(AdamOptimizer{}, 0.5); });
  expect_to_go_on(
      [] { return transform_gradients(AdamOptimizer{}, AutoClip{.percentile = 30, .window = 3}); });
  expect_to_go_on([] {
    const auto limit = [](int64_t step) { return step < 5 ? 0.5 : 0.1; };
    return transform_gradients(
        transform_gradients(MomentumOptimizer{}, ZClip{.z_threshold = 0, .warmup = 2}),
        ClipByNorm{.clip_norm = limit});
  });
  expect_to_go_on([] {
    return transform_gradients(AdamOptimizer{}, [](std::span<const Gradient> list) {
      return clip_by_global_norm(list, 0.5).gradients;
    });
  });
}

TEST(Decorators, ATransformIsThatOfARecordedStep) {
  const AutoClip clip{.percentile = 30, .window = 3};
  SmallModel eager, recorded;
  auto optimizer = transform_gradients(AdamOptimizer{}, clip);
  Step step = record(
      [&](Value x, Value y, Value ids, Value size) { return recorded.loss(x, y, ids) * size; },
      recorded.vars, clip, Adam{});
  int clipped = 0;
  for (int t = 0; t < 6; ++t) {
    train(optimizer, eager, t);
    const StepInfo info =
        step(recorded.x, recorded.y, recorded.ids, Tensor::scalar(static_cast<float>(1 + t % 3)));
    EXPECT_EQ(optimizer.info().norm, info.norm);
    clipped += info.clipped;
  }
  EXPECT_EQ(eager.weights(), recorded.weights());
  EXPECT_GT(clipped, 0);
}

TEST(Decorators, OtherOnesAreRefusedAndNothingChanges) {
  SmallModel model, other;
  auto saver = transform_gradients(AdamOptimizer{}, AutoClip{.percentile = 30, .window = 3});
  train(saver, model, 0);
  const StateDict saved = saver.state();
  const auto refusal = [&](auto optimizer) {
    const auto before = other.weights();
    const std::string text = error_of([&] { optimizer.load_state(saved, other.vars); });
    EXPECT_EQ(other.weights(), before);
    return text;
  };
  const std::string clip = refusal(transform_gradients(AdamOptimizer{}, AutoClip{.window = 3}));
  EXPECT_TRUE(has(clip, "settings/process/percentile")) << clip;
  const std::string kind = refusal(transform_gradients(AdamOptimizer{}, ZClip{}));
  EXPECT_TRUE(has(kind, "process/recent") && has(kind, "process/mean")) << kind;
  const std::string rule = refusal(
      transform_gradients(AdamOptimizer{{.beta1 = 0.5}}, AutoClip{.percentile = 30, .window = 3}));
  EXPECT_TRUE(has(rule, "settings/rule/beta1")) << rule;
  const std::string bare = refusal(AdamOptimizer{});
  EXPECT_TRUE(has(bare, "process/recent")) << bare;
  EXPECT_TRUE(has(error_of([&] { clip_gradients_by_norm(AdamOptimizer{}, 5).state(); }),
                  "before the first update"));
}

TEST(Decorators, ASkippedStepDoesNotReachTheOptimizer) {
  SmallModel model;
  const auto before = model.weights();
  auto optimizer =
      transform_gradients(AdamOptimizer{}, chain(AutoClip{}, CheckFinite{.skip_above = 1e-6}));
  train(optimizer, model, 0);
  EXPECT_TRUE(optimizer.info().skip);
  EXPECT_EQ(model.weights(), before);
}

// A decorator and a Step see the same losses, of which the first is so large that it is refused.
template <class O>
void expect_a_refusal_to_be_forgotten(O optimizer, const AnyTransform& process,
                                      const AnyRule& rule) {
  SmallModel eager, recorded;
  Step step = record(
      [&](Value x, Value y, Value ids, Value size) { return recorded.loss(x, y, ids) * size; },
      recorded.vars, process, rule);
  int clipped = 0;
  for (const double size : {1e4, 1.0, 3.0, 1.0, 2.0}) {
    GradientTape tape;
    const Value loss = eager.loss_on(tape) * size;
    const bool applied = optimizer.minimize(loss, eager.vars);
    const StepInfo info =
        step(recorded.x, recorded.y, recorded.ids, Tensor::scalar(static_cast<float>(size)));
    EXPECT_EQ(info.skip, size == 1e4);
    EXPECT_EQ(applied, !info.skip);
    EXPECT_EQ(optimizer.info().skip, info.skip);
    EXPECT_EQ(optimizer.info().norm, info.norm);
    EXPECT_EQ(eager.weights(), recorded.weights());
    clipped += info.clipped;
  }
  EXPECT_GT(clipped, 0);
}

TEST(Decorators, WhatTheInnerOneRefusesIsSkippedAndForgotten) {
  const AutoClip clip{.percentile = 50};
  const CheckFinite check{.skip_above = 100};
  const GradientDescent descent{.learning_rate = 0.1f};
  const ClipUpdates refusing{.rule = descent, .clip = check};
  {
    SCOPED_TRACE("a rule");
    expect_a_refusal_to_be_forgotten(transform_gradients(OptimizerOf<ClipUpdates>{refusing}, clip),
                                     clip, refusing);
  }
  {
    SCOPED_TRACE("a decorator");
    expect_a_refusal_to_be_forgotten(
        transform_gradients(transform_gradients(OptimizerOf{descent}, check), clip),
        chain(clip, check), descent);
  }
  {
    SCOPED_TRACE("a decorator behind a function");
    const auto same = [](std::span<const Gradient> list) {
      return std::vector<Gradient>(list.begin(), list.end());
    };
    expect_a_refusal_to_be_forgotten(
        transform_gradients(
            transform_gradients(transform_gradients(OptimizerOf{descent}, check), same), clip),
        chain(clip, check), descent);
  }
}

}  // namespace
}  // namespace rein
