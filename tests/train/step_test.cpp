// What a step tells and leaves, beside the weights (clip_effect_test.cpp).
#include "rein/train/step.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(Step, TellsLossAndNumberAndLeavesNormsUnmeasured) {
  SmallModel model;
  GradientTape tape;
  const double loss = model.loss_on(tape).item();
  Step train = record(model.cost(), model.vars, chain(), GradientDescent{});
  EXPECT_EQ(train.step(), 0);
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_EQ(info.step, 1);
  EXPECT_EQ(train.step(), 1);
  EXPECT_EQ(info.loss, loss);
  EXPECT_FALSE(info.measured);
  EXPECT_EQ(info.scale, 1);
  EXPECT_TRUE(info.finite);
  EXPECT_FALSE(info.skip);
  EXPECT_GT(info.seconds, 0);
  EXPECT_EQ(train(model.x, model.y, model.ids).step, 2);
}

TEST(Step, TakesAsManyInputsAsTheModel) {
  SmallModel model;
  const auto cost = [](Value x, Value y) { return reduce_sum(x * y); };
  const Tensor x({2});
  const auto with = [&](std::vector<Tensor> inputs) {
    Step train = record(cost, model.vars, chain(), Adam{});
    return test::error_of([&] { train.run(inputs); });
  };
  EXPECT_NE(with({x}).find("the model is a function of 2 inputs, it is called with 1"),
            std::string::npos);
  EXPECT_NE(with({x, x, x}).find("it is called with 3"), std::string::npos);
  Function f{cost};
  EXPECT_NE(test::error_of([&] { f(x); }).find("it is called with 1"), std::string::npos);
}

TEST(Step, MeasuresWhereItsTimeGoes) {
  SmallModel model;
  Step train = record(model.cost(), model.vars, chain(MeasureNorm{}), Adam{});
  EXPECT_TRUE(train.op_times().empty());
  train.profile(true);
  double seconds = 0;
  for (int i = 0; i < 2; ++i) seconds += train(model.x, model.y, model.ids).seconds;
  const auto times = train.op_times();
  ASSERT_GT(times.size(), 2u);
  double sum = 0;
  for (const OpTime& t : times) sum += t.seconds;
  EXPECT_GT(sum, 0);
  EXPECT_LE(sum, seconds);
  for (const OpTime& t : std::span(times).last(2)) EXPECT_EQ(t.calls, 2) << t.name;
  EXPECT_EQ(times.back().name, "apply");
  train.profile(false);
  EXPECT_TRUE(train.op_times().empty());
}

TEST(Step, NormsAroundAFunctionOfTheUsers) {
  SmallModel model;
  Step train = record(
      model.cost(), model.vars,
      chain(
          MeasureNorm{},
          [](const Gradient& g, const std::string&) { return clip_by_value(g, -0.01, 0.01); },
          MeasureNorm{}),
      GradientDescent{});
  double before = 0, after = 0;
  for (const auto& g : model.gradients()) {
    before += norm_of(g) * norm_of(g);
    for (double v : g) after += std::min(v * v, 0.0001);
  }
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_NEAR(info.norm, std::sqrt(before), 1e-6);
  EXPECT_NEAR(info.clipped_norm, std::sqrt(after), 1e-8);
}

TEST(Step, ANonFiniteLossIsTold) {
  SmallModel model;
  Step train = record(model.cost(), model.vars, chain(), GradientDescent{.learning_rate = 0});
  Tensor bad = model.x.clone();
  bad.flat<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  const StepInfo info = train(bad, model.y, model.ids);
  EXPECT_FALSE(info.finite);
  EXPECT_TRUE(info.non_finite.empty());  // nobody looked at the gradients
  SmallModel second;
  Step measured = record(second.cost(), second.vars, chain(ClipByGlobalNorm{.clip_norm = 1}),
                         GradientDescent{.learning_rate = 0});
  const StepInfo named = measured(bad, second.y, second.ids);
  EXPECT_FALSE(named.finite);
  EXPECT_EQ(named.non_finite, "w");
  EXPECT_TRUE(std::isnan(named.norm));
}

TEST(Step, ASkippedStepCountsButLeavesParametersAndRuleAlone) {
  SmallModel skipping, plain;
  // Every second step is skipped.
  const auto skip = [](Gradients& g, const Variables&, StepInfo& info) {
    if (info.step % 2 == 1) return;
    info.skip = true;
    g.scale = kInf;
  };
  Step with = record(skipping.cost(), skipping.vars, chain(skip, MeasureNorm{}), Adam{});
  Step without = record(plain.cost(), plain.vars, chain(), Adam{});
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(with(skipping.x, skipping.y, skipping.ids).skip);
    const auto before = skipping.weights();
    const StepInfo info = with(skipping.x, skipping.y, skipping.ids);
    EXPECT_TRUE(info.skip);
    EXPECT_EQ(info.step, 2 * i + 2);
    EXPECT_FALSE(info.measured);  // the chain stopped
    EXPECT_GT(info.loss, 0);
    EXPECT_EQ(skipping.weights(), before);
    without(plain.x, plain.y, plain.ids);
  }
  EXPECT_EQ(with.step(), 6);
  EXPECT_EQ(skipping.weights(), plain.weights());
}

TEST(Step, WhatATransformMadeOfAGradientIsForgotten) {
  SmallModel model;
  int calls = 0;
  const auto once = [&](Gradients& g, const Variables&, StepInfo&) {
    if (++calls > 1) return;
    g.set(0, {});                    // a dense one goes
    g.set(1, vector({1, 1, 1, 1}));  // an absent one comes
    g.scale = 0;
  };
  Step train = record(model.cost(), model.vars, once, GradientDescent{});
  const auto before = model.weights();
  train(model.x, model.y, model.ids);
  EXPECT_EQ(model.weights(), before);
  train(model.x, model.y, model.ids);
  EXPECT_NE(model.weights()[0], before[0]);
  EXPECT_EQ(model.weights()[1], before[1]);
}

TEST(Step, AnExceptionLeavesParametersAndCountAlone) {
  SmallModel model;
  bool fail = true;
  Step train = record(model.cost(), model.vars, chain([&](Gradients&, const Variables&, StepInfo&) {
                        if (fail) throw NonFiniteError("stop");
                      }),
                      Adam{.learning_rate = [](int64_t step) { return step == 1 ? -1.0 : 1e-3; }});
  const auto before = model.weights();
  EXPECT_THROW(train(model.x, model.y, model.ids), NonFiniteError);
  EXPECT_EQ(model.weights(), before);
  EXPECT_EQ(train.step(), 0);
  fail = false;
  EXPECT_EQ(train(model.x, model.y, model.ids).step, 1);
  const auto after = model.weights();
  EXPECT_THROW(train(model.x, model.y, model.ids), InvalidArgument);  // of the schedule
  EXPECT_THROW(train(model.x.clone(), model.x, model.ids), InvalidArgument);
  EXPECT_EQ(model.weights(), after);
  EXPECT_EQ(train.step(), 1);
}

TEST(Step, AScheduleThatMakesNoSenseIsRefusedBeforeAnythingIsSeen) {
  SmallModel model, other;
  int seen = 0;
  double rate = 1e-3;
  const AnyTransform counts = [&](Gradients&, const Variables&, StepInfo&) { ++seen; };
  const auto make = [&](SmallModel& m) {
    return record(m.cost(), m.vars, counts, Adam{.learning_rate = [&](int64_t) { return rate; }},
                  {.rollback = Rollback{}});
  };
  Step train = make(model), plain = make(other);
  train.accumulate(model.x, model.y, model.ids);
  rate = -1;
  EXPECT_THROW(train(model.x, model.y, model.ids), InvalidArgument);
  EXPECT_EQ(seen, 0);
  rate = 1e-3;
  // The micro-batch has waited.
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_EQ(info.micro_batches, 2);
  plain.accumulate(other.x, other.y, other.ids);
  plain(other.x, other.y, other.ids);
  EXPECT_EQ(model.weights(), other.weights());
}

TEST(Step, TellsThatAClipOfUpdatesSkipped) {
  SmallModel model;
  Step train = record(model.cost(), model.vars, chain(),
                      ClipUpdates{.rule = Adam{}, .clip = CheckFinite{.skip_above = 1e-6}});
  const auto before = model.weights();
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_TRUE(info.skip);
  EXPECT_EQ(info.learning_rate, 0);
  EXPECT_EQ(model.weights(), before);
}

TEST(Step, SettingsAreCheckedWhereItIsRecorded) {
  SmallModel model;
  const auto error_of = [&](const AnyTransform& process, const AnyRule& rule,
                            StepOptions options = {}) -> std::string {
    try {
      (void)record(model.cost(), model.vars, process, rule, options);
    } catch (const InvalidArgument& e) {
      return e.what();
    }
    return "no error";
  };
  const std::string clip = error_of(chain(ClipByGlobalNorm{.clip_norm = -3}), Adam{});
  EXPECT_NE(clip.find("ClipByGlobalNorm: clip_norm is -3"), std::string::npos) << clip;
  EXPECT_NE(clip.find("step_test.cpp:"), std::string::npos) << clip;
  EXPECT_NE(error_of(chain(), Adam{.beta1 = 2}).find("beta1"), std::string::npos);
  EXPECT_NE(error_of(chain(), Adam{}, {.threads = -1}).find("threads is -1"), std::string::npos);
  EXPECT_EQ(error_of(chain(ClipByGlobalNorm{.clip_norm = kInf}), Adam{}), "no error");
}

TEST(Step, ALossThatDependsOnNoVariableIsRefused) {
  SmallModel model;
  Step train = record([](Value x) { return reduce_sum(square(x)); }, model.vars, chain(), Adam{});
  EXPECT_THROW(train(model.x), InvalidArgument);
}

TEST(Step, SameBitsForAnyNumberOfThreads) {
  std::vector<std::vector<double>> first;
  for (int threads : {1, 2, 3}) {
    Variables vars(Seed{3});
    const Variable w = vars.add("w", {200, 300}, random_normal());
    const Variable b = vars.add("b", {300}, random_normal());
    const Tensor x = tensor({20, 200}, noise(4000));
    Step train = record([&](Value in) { return reduce_mean(square(matmul(in, w) + b)); }, vars,
                        chain(ClipByGlobalNorm{.clip_norm = 0.1}), Adam{.learning_rate = 0.01},
                        {.threads = threads});
    std::vector<double> norms;
    for (int i = 0; i < 3; ++i) norms.push_back(train(x).norm);
    std::vector<std::vector<double>> got{norms, numbers(w.read()), numbers(b.read())};
    if (threads == 1) first = got;
    EXPECT_EQ(got, first) << threads;
  }
}

TEST(Step, ChecksPatternsOfNamesWhenTheModelHasMadeItsVariables) {
  const auto step_with = [](Variables& vars, const char* pattern) {
    const auto cost = [&vars](Value x) {
      if (!vars.contains("w")) vars.add("w", {3}, zeros());
      return reduce_sum(x * vars.at("w"));
    };
    return record(cost, vars, only(pattern, ClipByGlobalNorm{.clip_norm = 1}),
                  GradientDescent{.learning_rate = 1});
  };
  Variables vars, others;
  Step clipped = step_with(vars, "w");
  EXPECT_TRUE(clipped(vector({0, 3, 4})).clipped);
  EXPECT_NEAR(numbers(vars[0].read())[2], -0.8, 1e-7);
  Step wrong = step_with(others, "v");
  EXPECT_EQ(test::error_of([&] {
              wrong(vector({0, 3, 4}));
            }),
            "record: Groups: no variable matches 'v'; there are 'w'");
}

}  // namespace
}  // namespace rein
