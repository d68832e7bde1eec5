// A training that diverges goes back to what was healthy.
#include "rein/train/rollback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <new>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

using Weights = std::vector<std::vector<double>>;

// A step that can be given a batch with a NaN in it, or one with a large loss.
struct Training {
  SmallModel model;
  Tensor bad = model.x.clone(), large = model.x.clone();
  Step step;

  explicit Training(const Rollback& rollback, double rate = 0.1)
      : step(record(model.cost(), model.vars, clips(), Adam{.learning_rate = rate},
                    {.rollback = rollback})) {
    bad.flat<float>()[1] = std::nanf("");
    large.flat<float>()[1] = 1e6F;
  }
  // Remembers norms of other steps.
  static AnyTransform clips() { return chain(AutoClip{.percentile = 50}); }
  StepInfo go() { return step(model.x, model.y, model.ids); }
  StepInfo go_with(const Tensor& x) { return step(x, model.y, model.ids); }
};

TEST(Rollback, GoesBackToTheCopyToTheBitWithALowerRate) {
  Training t({.every = 2, .most_bad = 1, .rate_factor = 0.25});
  std::vector<Weights> after{t.model.weights()};
  for (int i = 0; i < 6; ++i) {
    const StepInfo info = t.go();
    EXPECT_EQ(info.learning_rate, 0.1);
    EXPECT_EQ(info.rollbacks, 0);
    after.push_back(t.model.weights());
  }
  // Copies were made before steps 1, 3 and 5.
  const StepInfo first = t.go_with(t.bad);
  EXPECT_TRUE(first.skip && !first.finite && !first.rolled_back);
  EXPECT_EQ(t.model.weights(), after[6]);
  const StepInfo second = t.go_with(t.bad);
  EXPECT_TRUE(second.skip && second.rolled_back);
  EXPECT_EQ(second.rollbacks, 1);
  EXPECT_EQ(second.step, 8);
  EXPECT_EQ(t.model.weights(), after[4]);

  // From there on it is a training that has made four steps and goes on with a quarter of the rate:
  // rule and transforms remember what they did then.
  Training other({.every = 2, .most_bad = 1}), slow({.every = 2, .most_bad = 1}, 0.025);
  for (int i = 0; i < 4; ++i) other.go();
  slow.step.load_state(other.step.state(), SavedSettings::do_not_matter);
  for (int i = 0; i < 3; ++i) {
    const StepInfo info = t.go(), wanted = slow.go();
    EXPECT_EQ(info.learning_rate, 0.025);
    EXPECT_EQ(info.rollbacks, 1);
    EXPECT_FALSE(info.rolled_back);
    EXPECT_EQ(info.clipped_norm, wanted.clipped_norm);
    EXPECT_EQ(t.model.weights(), slow.model.weights());
  }
}

TEST(Rollback, ALossThatExplodesIsBadThoughFinite) {
  Training t({.every = 10, .most_bad = 1, .loss_above = 50});
  const StepInfo fine = t.go();
  const Weights before = t.model.weights();
  const StepInfo info = t.go_with(t.large);
  EXPECT_GT(info.loss, 50 * fine.loss);
  EXPECT_TRUE(info.skip && info.finite && !info.rolled_back);
  EXPECT_EQ(t.model.weights(), before);
  t.go();  // in between: not in a row
  EXPECT_FALSE(t.go_with(t.large).rolled_back);
  EXPECT_TRUE(t.go_with(t.large).rolled_back);
}

TEST(Rollback, DecidesWhateverThePolicyOfACheck) {
  for (const NonFinite policy : {NonFinite::stop, NonFinite::zero, NonFinite::propagate}) {
    SmallModel model;
    Tensor bad = model.x.clone();
    bad.flat<float>()[1] = std::nanf("");
    Step step =
        record(model.cost(), model.vars, chain(CheckFinite{.policy = policy}), Adam{},
               {.loss_scale = LossScale{.initial = 1}, .rollback = Rollback{.most_bad = 1}});
    const Weights first = model.weights();
    step(model.x, model.y, model.ids);
    const Weights before = model.weights();
    EXPECT_TRUE(step(bad, model.y, model.ids).skip);
    EXPECT_EQ(model.weights(), before);
    EXPECT_TRUE(step(bad, model.y, model.ids).rolled_back);
    EXPECT_EQ(model.weights(), first);
  }
}

TEST(Rollback, BeforeTheFirstHealthyStepItStaysWhereItBegan) {
  Training t({.most_bad = 0});
  const Weights before = t.model.weights();
  EXPECT_TRUE(t.go_with(t.bad).rolled_back);
  EXPECT_EQ(t.model.weights(), before);
  EXPECT_EQ(t.go().learning_rate, 0.05);
}

// Gradients are fine; what the rule makes of them is not, when `large`.
struct LargeUpdates {
  SmallModel model;
  bool large = false;
  Step step;

  explicit LargeUpdates(double rate = 0.1)
      : step(record(
            model.cost(), model.vars, Training::clips(),
            ClipUpdates{.rule = Adam{.learning_rate = rate},
                        .clip = chain(
                            [this](Gradients& deltas, const Variables&, StepInfo&) {
                              if (large) deltas.scale *= 1e9;
                            },
                            CheckFinite{.skip_above = 1e3})},
            {.rollback = Rollback{.every = 2, .most_bad = 1, .rate_factor = 0.25, .most = 1}})) {}
  StepInfo go(bool is_large = false) {
    large = is_large;
    return step(model.x, model.y, model.ids);
  }
};

TEST(Rollback, AStepThatTheRuleRefusesIsBadAndNoPlaceToGoBackTo) {
  LargeUpdates t;
  std::vector<Weights> after{t.model.weights()};
  const auto go = [&](bool large) {
    const StepInfo info = t.go(large);
    EXPECT_EQ(info.skip, large);
    if (!large) after.push_back(t.model.weights());
    return info;
  };
  for (int i = 0; i < 4; ++i) go(false);
  EXPECT_FALSE(go(true).rolled_back);
  EXPECT_EQ(t.model.weights(), after[4]);
  go(false), go(false);  // the row has ended; the copy is from before the first of these
  EXPECT_FALSE(go(true).rolled_back);
  EXPECT_EQ(t.model.weights(), after[6]);
  const StepInfo back = go(true);
  EXPECT_TRUE(back.rolled_back && back.finite);
  EXPECT_EQ(t.model.weights(), after[4]);

  // Rule and transforms remember four steps.
  LargeUpdates other, slow(0.025);
  for (int i = 0; i < 4; ++i) other.go();
  slow.step.load_state(other.step.state(), SavedSettings::do_not_matter);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(go(false).clipped_norm, slow.go().clipped_norm);
    EXPECT_EQ(t.model.weights(), slow.model.weights());
  }

  go(true);
  const StateDict before = t.step.state();
  EXPECT_THROW(go(true), NonFiniteError);  // once more than `most`
  EXPECT_EQ(t.model.weights(), after.back());
  const StateDict now = t.step.state();
  for (const char* name : {"step", "rule/steps", "rule/clip/1/skipped"})
    EXPECT_EQ(std::get<int64_t>(now.at(name)), std::get<int64_t>(before.at(name))) << name;
}

// Steps that are skipped before the transforms see them, and the way back.
TEST(Rollback, IsSeenByAMonitorAroundTheTransforms) {
  Monitor monitor({.every = 6});
  SmallModel model;
  Tensor bad = model.x.clone();
  bad.flat<float>()[1] = std::nanf("");
  Step step = record(model.cost(), model.vars,
                     monitor.around(chain(CheckFinite{}, ClipByGlobalNorm{.clip_norm = 1})),
                     GradientDescent{.learning_rate = 1e-4}, {.rollback = Rollback{.most_bad = 1}});
  for (int i = 0; i < 7; ++i) step(model.x, model.y, model.ids);  // the seventh is compared
  step(bad, model.y, model.ids);
  EXPECT_EQ(monitor.report().compared_step, 7);
  EXPECT_TRUE(step(bad, model.y, model.ids).rolled_back);
  for (int i = 0; i < 3; ++i) step(model.x, model.y, model.ids);
  const MonitorReport report = monitor.report();
  EXPECT_EQ(report.steps, 12);
  EXPECT_EQ(report.skipped, 2);
  EXPECT_EQ(report.skipped_finite, 0);
  EXPECT_EQ(report.non_finite, 2);
  EXPECT_EQ(report.last_non_finite, "w");
  EXPECT_EQ(report.compared_step, 7);
  EXPECT_LT(report.variables[0].update.value(), 1e-3);
}

TEST(Rollback, OnlySoManyTimesThenAnErrorThatSaysWhatHappened) {
  Training t({.most_bad = 1, .rate_factor = 0.5, .most = 2});
  t.go();
  for (int i = 0; i < 5; ++i) t.go_with(t.bad);
  const Weights before = t.model.weights();
  for (int again = 0; again < 2; ++again) {
    try {
      t.go_with(t.bad);
      ADD_FAILURE() << "no error";
    } catch (const NonFiniteError& e) {
      const std::string text = e.what();
      EXPECT_NE(
          text.find("step 7 (loss nan, gradient of 'w' not finite) is bad after 1 bad steps in "
                    "a row, and parameters were rolled back 2 times before, the learning rate "
                    "with them to 0.25 of what it was; nothing was changed"),
          std::string::npos)
          << text;
    }
    EXPECT_EQ(t.model.weights(), before);
    EXPECT_EQ(t.step.step(), 6);
  }
}

TEST(Rollback, OverflowsOfALossScaleThatHasStillToFallAreNotBad) {
  Variables vars;
  const Variable w = add_variable(vars, "w", {1}, {1e-20});
  const auto make = [&] {
    return record([&](Value x) { return reduce_sum(x * w); }, vars, chain(),
                  Lion{.learning_rate = 1e-22},
                  {.loss_scale = LossScale{.initial = 65536, .growth_interval = 2},
                   .rollback = Rollback{.most_bad = 0}});
  };
  Step step = make(), other = make();
  const Tensor x = vector({1e35}), bad = vector({std::nan("")});
  // Times 4096 it is no float any more.
  const auto overflows_at = [&](double scale) {
    const StepInfo info = step(x);
    EXPECT_EQ(info.loss_scale, scale);
    EXPECT_TRUE(info.skip && !info.finite && !info.rolled_back);
  };
  for (double scale = 65536; scale > 2048; scale /= 2) overflows_at(scale);
  EXPECT_FALSE(step(x).skip || step(x).skip);
  overflows_at(4096);  // it grew
  other.load_state(step.state());
  EXPECT_TRUE(step(bad).rolled_back);  // 2048 was fine before
  EXPECT_TRUE(other(bad).rolled_back);
}

TEST(Rollback, OneThatIsSkippedForItsLossIsNoFineStepOfTheLossScale) {
  SmallModel model;
  Tensor large = model.x.clone();
  large.flat<float>()[1] = 1e6F;
  Step step = record(model.cost(), model.vars, chain(), Adam{},
                     {.loss_scale = LossScale{.initial = 4, .growth_interval = 2},
                      .rollback = Rollback{.loss_above = 50}});
  step(model.x, model.y, model.ids);
  EXPECT_TRUE(step(large, model.y, model.ids).skip);
  EXPECT_EQ(step.loss_scale(), 4);
  step(model.x, model.y, model.ids);
  EXPECT_EQ(step.loss_scale(), 8);
}

// A transform that counts, and whose state cannot be saved at the given look at it.
struct Counts {
  static inline int looks_left = 0;
  struct State {
    int64_t calls = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      if (looks_left > 0 && --looks_left == 0) throw std::bad_alloc();
      f("calls", self.calls);
    }
  };
  State init(const Variables&) const { return {}; }
  void update(Gradients&, State& state, const Variables&, StepInfo&) const { ++state.calls; }
};

TEST(Rollback, SavingThatFailsChangesNothing) {
  SmallModel model;
  Step step = record(model.cost(), model.vars, Counts{}, Adam{}, {.rollback = Rollback{}});
  for (int i = 0; i < 3; ++i) step(model.x, model.y, model.ids);
  const auto calls = [&] { return std::get<int64_t>(step.state().at("process/calls")); };
  EXPECT_EQ(calls(), 3);
  // As it is; as bytes, into what was kept, and that.
  for (int look = 1; look <= 4; ++look) {
    Counts::looks_left = look;
    EXPECT_THROW(step.state(), std::bad_alloc) << look;
    EXPECT_EQ(Counts::looks_left, 0);
    EXPECT_EQ(calls(), 3) << look;
  }
}

TEST(Rollback, IsSavedAndLoadedWithItsCopyAndItsRate) {
  const Rollback settings{.every = 2, .most_bad = 1};
  Training t(settings), other(settings);
  for (int i = 0; i < 3; ++i) t.go();
  t.go_with(t.bad), t.go_with(t.bad);
  for (int i = 0; i < 4; ++i) t.go();
  t.go_with(t.bad);  // the next goes back
  const StateDict saved = t.step.state();
  const Weights now = t.model.weights();
  EXPECT_EQ(t.step.state().size(), saved.size());
  EXPECT_EQ(t.model.weights(), now);  // saving changes nothing

  other.go(), other.go();
  other.step.load_state(saved);
  EXPECT_EQ(other.model.weights(), now);
  for (Training* training : {&t, &other}) {
    const StepInfo info = training->go_with(training->bad);
    EXPECT_TRUE(info.rolled_back);
    EXPECT_EQ(info.rollbacks, 2);
  }
  EXPECT_EQ(other.model.weights(), t.model.weights());
  EXPECT_NE(other.model.weights(), now);
  for (Training* training : {&t, &other}) EXPECT_EQ(training->go().learning_rate, 0.025);
  EXPECT_EQ(other.model.weights(), t.model.weights());
}

TEST(Rollback, SlowsEveryRuleThatARuleIsMadeOf) {
  Variables vars({}, DType::float64);
  add_variable(vars, "w", {1}, {0});
  add_variable(vars, "v", {1}, {0});
  const AnyRule groups = WeightAverage{
      .rule =
          RuleGroups{.groups = {{"w", GradientDescent{.learning_rate = 0.5}}},
                     .otherwise = GradientDescent{.learning_rate = [](int64_t) { return 0.25; }}}};
  const AnyRule slow = groups.slowed(0.5);
  auto state = groups.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  for (size_t i = 0; i < 2; ++i) g.set(i, vector({-1}, DType::float64));
  apply_updates(vars, g, slow, state, {}, team);
  EXPECT_EQ(numbers(vars[0].read())[0], 0.25);
  EXPECT_EQ(numbers(vars[1].read())[0], 0.125);
}

// Rules that list no fields.
struct Around {
  static constexpr std::string_view name = "Around";
  AnyRule rule;
  struct State {
    AnyRule::State rule;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("rule", self.rule);
    }
  };
  State init(const Variables& variables) const { return {rule.init(variables)}; }
};
struct WithOwnRate : Around {
  static constexpr std::string_view name = "WithOwnRate";
  Schedule learning_rate = 1;
};

TEST(Rollback, SlowsARuleInsideOneThatListsNoFields) {
  Variables vars({}, DType::float64);
  add_variable(vars, "w", {1}, {0});
  const AnyRule around = Around{GradientDescent{.learning_rate = 0.5}};
  EXPECT_EQ(around.part_without_rate(), "");
  auto state = around.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  g.set(0, vector({-1}, DType::float64));
  apply_updates(vars, g, around.slowed(0.5), state, {}, team);
  EXPECT_EQ(numbers(vars[0].read())[0], 0.25);
  EXPECT_EQ(AnyRule(Around{ScheduleFreeAdamW{}}).lone_part(), "ScheduleFreeAdamW");
  EXPECT_EQ(AnyRule(Around{Rprop{}}).part_without_rate(), "Rprop");
}

TEST(Rollback, RefusesARateThatItCannotLower) {
  EXPECT_EQ(AnyRule(WithOwnRate{{GradientDescent{}}}).part_without_rate(), "WithOwnRate");
}

TEST(Rollback, RefusesSettingsThatMakeNoSense) {
  const auto error = [](const Rollback& rollback) {
    return test::error_of([&] { Training t(rollback); });
  };
  EXPECT_EQ(error({.every = 0}),
            "record: rollback.every must be a number of steps from 1 on, got 0");
  EXPECT_EQ(error({.most_bad = -1}),
            "record: rollback.most_bad must be a number of steps, or 0, got -1");
  EXPECT_EQ(error({.loss_above = 1}), "record: rollback.loss_above must be above 1, got 1");
  EXPECT_EQ(error({.rate_factor = 0}), "record: rollback.rate_factor must be in (0, 1], got 0");
  EXPECT_EQ(error({.most = -1}), "record: rollback.most must be a number, or 0, got -1");
  SmallModel model;
  const AnyRule groups = RuleGroups{.groups = {{"b", Rprop{}}}, .otherwise = Adam{}};
  const auto begin = [&](double factor) {
    record(model.cost(), model.vars, chain(), groups,
           {.rollback = Rollback{.rate_factor = factor}});
  };
  EXPECT_EQ(test::error_of([&] { begin(0.5); }),
            "record: a rollback lowers the learning rate, and Rprop has none; set "
            "rollback.rate_factor to 1, or take another rule");
  EXPECT_NO_THROW(begin(1));
}

}  // namespace
}  // namespace rein
