// What a Monitor remembers of the steps that go through it.
#include "rein/process/monitor.h"

#include <gtest/gtest.h>

#include <limits>

#include "process/numbers.h"
#include "rein/process/clip.h"
#include "rein/process/finite.h"
#include "rein/process/groups.h"
#include "rein/process/scale.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// a has two elements, b one; steps of given gradients.
struct Steps {
  explicit Steps(AnyTransform transform) : process(std::move(transform)) {
    a = add_variable(vars, "a", {2}, {3, 4});
    b = add_variable(vars, "b", {1}, {0});
    state = process.init(vars);
  }
  StepInfo run(const std::vector<double>& of_a, double of_b) {
    Gradients g(vars);
    g.set(0, vector(of_a));
    g.set(1, vector({of_b}));
    StepInfo info{.step = ++step};
    process.update(g, state, vars, info);
    if (!info.skip) process.remember(state);
    last = {numbers(g.get(0)), numbers(g.get(1))};
    return info;
  }
  Variables vars;
  Variable a, b;
  AnyTransform process;
  AnyTransform::State state;
  int64_t step = 0;
  std::vector<std::vector<double>> last;
};

TEST(Quantiles, LieBetweenNumbersInProportion) {
  std::vector<double> numbers;
  for (int i = 100; i >= 0; --i) numbers.push_back(i);
  numbers.push_back(kInf);
  numbers.push_back(std::nan(""));
  const Quantiles q = quantiles_of(numbers);
  EXPECT_DOUBLE_EQ(q.p05, 5);
  EXPECT_DOUBLE_EQ(q.p50, 50);
  EXPECT_DOUBLE_EQ(q.p95, 95);
  EXPECT_DOUBLE_EQ(q.p99, 99);
  EXPECT_EQ(q.max, 100);
  EXPECT_DOUBLE_EQ(quantiles_of(std::vector<double>{1, 3}).p50, 2);
  EXPECT_DOUBLE_EQ(quantiles_of(std::vector<double>{1, 3}).p95, 2.9);
  EXPECT_EQ(quantiles_of({}).max, 0);
}

TEST(Monitor, RemembersNormsAroundAGlobalClip) {
  Monitor monitor;
  Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 6.5}));
  const StepInfo info = steps.run({3, 4}, 12);  // 5, 12: 13
  EXPECT_DOUBLE_EQ(info.norm, 13);              // the transform inside still reports
  EXPECT_EQ(info.norms_wanted, nullptr);
  EXPECT_EQ(steps.last[0], (std::vector<double>{1.5, 2}));
  steps.run({0.3, 0.4}, 0);
  const MonitorReport r = monitor.report();
  EXPECT_EQ(r.steps, 2);
  EXPECT_EQ(r.window, 2);
  EXPECT_DOUBLE_EQ(r.norm.max, 13);
  EXPECT_DOUBLE_EQ(r.clipped_norm.max, 6.5);
  EXPECT_DOUBLE_EQ(r.clip_rate, 0.5);
  EXPECT_DOUBLE_EQ(r.limit.value(), 6.5);
  EXPECT_NEAR(r.last_norm, 0.5, 1e-7);  // 0.3 and 0.4 are floats
  ASSERT_EQ(r.variables.size(), 2u);
  EXPECT_EQ(r.variables[0].name, "a");
  EXPECT_DOUBLE_EQ(r.variables[0].norm.max, 5);
  EXPECT_DOUBLE_EQ(r.variables[0].clipped_norm.max, 2.5);
  EXPECT_DOUBLE_EQ(r.variables[1].norm.max, 12);
  EXPECT_DOUBLE_EQ(r.variables[1].clipped_norm.max, 6);
  EXPECT_DOUBLE_EQ(r.variables[0].clip_rate, 0.5);
  EXPECT_NEAR(r.variables[1].share, 144. / 169 / 2, 1e-12);  // halfway between that and 0
}

// Clips that change each variable by itself: what is after is measured.
TEST(Monitor, RemembersNormsAroundOtherClips) {
  struct {
    const char* name;
    AnyTransform clip;
    double a, b;
  } const cases[] = {
      {"by norm", ClipByNorm{.clip_norm = 6}, 5, 6},
      {"by norm, tensorflow", ClipByNorm{.clip_norm = 6, .semantics = Semantics::tensorflow}, 5, 6},
      {"by value", ClipByValue{-3, 3}, std::sqrt(18), 3},
      {"two", chain(ClipByNorm{.clip_norm = 6}, ClipByNorm{.clip_norm = 2}), 2, 2},
      {"value then global", chain(ClipByValue{-4, 12}, ClipByGlobalNorm{.clip_norm = 6.5}), 2.5, 6},
      {"a function, then measured",
       chain(
           MeasureNorm{}, [](const Gradient& g, const std::string&) { return clip_by_norm(g, 1); },
           MeasureNorm{}),
       1, 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Monitor monitor;
    Steps steps(monitor.around(c.clip));
    steps.run({3, 4}, 12);
    const MonitorReport r = monitor.report();
    EXPECT_DOUBLE_EQ(r.variables[0].last_norm, 5);
    EXPECT_DOUBLE_EQ(r.variables[1].last_norm, 12);
    EXPECT_NEAR(r.variables[0].last_clipped_norm, c.a, 3e-7 * c.a);  // rounded to floats
    EXPECT_NEAR(r.variables[1].last_clipped_norm, c.b, 3e-7 * c.b);
    EXPECT_NEAR(r.last_clipped_norm, std::hypot(c.a, c.b), 3e-6);
  }
}

// Of a: 5, of b: 12. Norms of variables of all groups, and of those in none, as they were before.
TEST(Monitor, RemembersNormsAroundGroups) {
  struct {
    const char* name;
    AnyTransform clip;
    double a, b, all, after_a, after_b;
  } const cases[] = {
      {"only the first", only("a", ClipByNorm{.clip_norm = 1}), 5, 12, 13, 1, 12},
      {"only the second", only("b", ClipByNorm{.clip_norm = 1}), 5, 12, 13, 5, 1},
      {"except the first", except("a", ClipByNorm{.clip_norm = 1}), 5, 12, 13, 5, 1},
      {"except the second", except("b", ClipByGlobalNorm{.clip_norm = 1}), 5, 12, 13, 1, 12},
      {"two", Groups{{{"a", ClipByNorm{.clip_norm = 1}}, {"*", ClipByGlobalNorm{.clip_norm = 2}}}},
       5, 12, 13, 1, 2},
      {"in the other order",
       Groups{{{"b", ClipByGlobalNorm{.clip_norm = 2}}, {"a", ClipByNorm{.clip_norm = 1}}}}, 5, 12,
       13, 1, 2},
      {"two in a group", only("a", chain(ClipByNorm{.clip_norm = 2}, ClipByNorm{.clip_norm = 1})),
       5, 12, 13, 1, 12},
      {"groups in a group", only("*", except("a", ClipByNorm{.clip_norm = 1})), 5, 12, 13, 5, 1},
      {"behind one that takes norms",
       chain(ClipByGlobalNorm{.clip_norm = 6.5}, only("b", ClipByNorm{.clip_norm = 1})), 5, 12, 13,
       2.5, 1},
      {"of order 1", only("a", ClipByGlobalNorm{.clip_norm = 3.5, .norm_type = 1}), 7, 12, 19, 3.5,
       12},
      {"of two orders: behind them",
       Groups{{{"a", ClipByGlobalNorm{.clip_norm = 3.5, .norm_type = 1}},
               {"b", ClipByGlobalNorm{.clip_norm = 6}}}},
       2.5, 6, 6.5, 2.5, 6},
      {"that take none", only("a", Scale{.factor = 0.5}), 2.5, 12, std::hypot(2.5, 12), 2.5, 12},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Monitor monitor;
    Steps steps(monitor.around(c.clip));
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(steps.run({3, 4}, 12).norms_wanted, nullptr);
      const MonitorReport r = monitor.report();
      EXPECT_DOUBLE_EQ(r.variables[0].last_norm, c.a);
      EXPECT_DOUBLE_EQ(r.variables[1].last_norm, c.b);
      EXPECT_DOUBLE_EQ(r.last_norm, c.all);
      EXPECT_NEAR(r.variables[0].last_clipped_norm, c.after_a, 3e-7 * c.after_a);  // floats
      EXPECT_NEAR(r.variables[1].last_clipped_norm, c.after_b, 3e-7 * c.after_b);
    }
  }
}

TEST(Monitor, SeesAClipThatTheGlobalNormDoesNotShow) {
  Monitor monitor;
  Steps steps(monitor.around(only("b", ClipByNorm{.clip_norm = 1})));
  steps.run({3e9, 4e9}, 5);
  EXPECT_NEAR(monitor.report().variables[1].last_clipped_norm, 1, 1e-6);
}

TEST(Monitor, NamesWhatIsNotFiniteInTheSecondGroup) {
  for (const AnyTransform& clip : {AnyTransform(Groups{{{"a", ClipByNorm{.clip_norm = 1}},
                                                        {"b", ClipByNorm{.clip_norm = 1}}}}),
                                   AnyTransform(only("a", ClipByNorm{.clip_norm = 1}))}) {
    Monitor monitor;
    Steps steps(monitor.around(clip));
    steps.run({3, 4}, std::nan(""));
    const MonitorReport r = monitor.report();
    EXPECT_EQ(r.non_finite, 1);
    EXPECT_EQ(r.last_non_finite, "b");
    EXPECT_EQ(r.variables[0].non_finite, 0);
    EXPECT_EQ(r.variables[1].non_finite, 1);
    EXPECT_DOUBLE_EQ(r.variables[0].last_norm, 5);
  }
}

TEST(Monitor, TakesNormsOfTheOrderOfTheClip) {
  Monitor monitor;
  Steps steps(monitor.around(
      chain(ClipByGlobalNorm{.clip_norm = 9.5, .norm_type = 1}, ClipByGlobalNorm{.clip_norm = 1})));
  steps.run({3, 4}, 12);  // 7, 12: 19; halved, then (1.5, 2, 6) by its L2 norm 6.5
  const MonitorReport r = monitor.report();
  EXPECT_DOUBLE_EQ(r.last_norm, 19);
  EXPECT_DOUBLE_EQ(r.variables[0].last_norm, 7);
  EXPECT_NEAR(r.last_clipped_norm, 9.5 / 6.5, 1e-14);
  EXPECT_NEAR(r.variables[0].last_clipped_norm, 3.5 / 6.5, 1e-14);
  EXPECT_NEAR(r.variables[0].share, 7. / 19, 1e-14);
}

TEST(Monitor, MeasuresOnceWhereNothingElseDoes) {
  Monitor monitor;
  Steps steps(monitor.around(chain()));
  const StepInfo info = steps.run({3, 4}, 12);
  EXPECT_FALSE(info.measured);
  const MonitorReport r = monitor.report();
  EXPECT_DOUBLE_EQ(r.last_norm, 13);
  EXPECT_DOUBLE_EQ(r.last_clipped_norm, 13);
  EXPECT_EQ(r.clip_rate, 0);
  EXPECT_FALSE(r.limit);
}

TEST(Monitor, SeesWhatItIsAroundAlone) {
  Monitor inner, outer;
  Steps steps(outer.around(
      chain(ClipByGlobalNorm{.clip_norm = 6.5}, inner.around(ClipByGlobalNorm{.clip_norm = 1.3}))));
  const StepInfo info = steps.run({3, 4}, 12);
  EXPECT_TRUE(info.clipped);
  EXPECT_DOUBLE_EQ(inner.report().last_norm, 6.5);
  EXPECT_DOUBLE_EQ(inner.report().last_clipped_norm, 1.3);
  EXPECT_DOUBLE_EQ(outer.report().last_norm, 13);
  EXPECT_DOUBLE_EQ(outer.report().last_clipped_norm, 1.3);

  Monitor behind;  // what was clipped before it is not its clip
  Steps other(chain(ClipByGlobalNorm{.clip_norm = 6.5}, behind.around(MeasureNorm{})));
  EXPECT_TRUE(other.run({3, 4}, 12).clipped);
  EXPECT_EQ(behind.report().clip_rate, 0);
}

TEST(Monitor, ForgetsWhatIsOlderThanItsWindow) {
  Monitor monitor({.window = 8});
  Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 10}));
  steps.run({kInf, 0}, 0);
  for (int i = 0; i < 8; ++i) {
    const MonitorReport before = monitor.report();
    EXPECT_EQ(before.non_finite, 1);
    EXPECT_EQ(before.last_non_finite, "a");
    steps.run({0, 0}, i < 6 ? 1 : 20);
  }
  const MonitorReport r = monitor.report();
  EXPECT_EQ(r.steps, 9);
  EXPECT_EQ(r.window, 8);
  EXPECT_EQ(r.non_finite, 0);
  EXPECT_EQ(r.last_non_finite, "");
  EXPECT_DOUBLE_EQ(r.clip_rate, 0.25);
  EXPECT_DOUBLE_EQ(r.trend, 20);  // the newest two against the oldest two
}

TEST(Monitor, CountsStepsThatAreNotFiniteAndSkips) {
  Monitor monitor;
  Steps steps(monitor.around(
      chain(ClipByGlobalNorm{.clip_norm = 1},
            [](Gradients&, const Variables&, StepInfo& info) { info.skip = !info.finite; })));
  steps.run({1, 1}, 1);
  EXPECT_TRUE(steps.run({1, 1}, std::nan("")).skip);
  const MonitorReport r = monitor.report();
  EXPECT_EQ(r.non_finite, 1);
  EXPECT_EQ(r.skipped, 1);
  EXPECT_EQ(r.last_non_finite, "b");
  EXPECT_EQ(r.variables[0].non_finite, 0);
  EXPECT_EQ(r.variables[1].non_finite, 1);
  EXPECT_NEAR(r.norm.max, std::sqrt(3.), 1e-15);  // of finite numbers
}

// What mended the numbers in front of the first norms, or behind them.
// In front of it, in a chain, and in a group that comes later.
TEST(Monitor, CountsStepsThatWereSkippedBefore) {
  Monitor behind, in_group, in_later_group;
  const AnyTransform clip = ClipByGlobalNorm{.clip_norm = 1};
  Steps steps(chain(Groups{{{"a", chain(in_group.around(clip), CheckFinite{})},
                            {"b", in_later_group.around(clip)}}},
                    behind.around(clip)));
  steps.run({3, 4}, 12), steps.run({3, kNaN}, 12), steps.run({3, 4}, 12);
  for (const Monitor* monitor : {&behind, &in_later_group}) {
    const MonitorReport r = monitor->report();
    EXPECT_EQ(r.steps, 3);
    EXPECT_EQ(r.skipped, 1);
    EXPECT_EQ(r.non_finite, 1);
    EXPECT_EQ(r.clip_rate, 1);
  }
  EXPECT_EQ(behind.report().last_non_finite, "a");
  EXPECT_EQ(in_group.report().skipped, 0);  // it came before

  Monitor whole;
  Steps skipped(chain(CheckFinite{}, Groups{{{"b", whole.around(clip)}}}));
  skipped.run({3, kNaN}, 12);
  EXPECT_EQ(whole.report().skipped, 1);
}

TEST(Monitor, SeesThroughNumbersThatWereZeroed) {
  struct {
    const char* name;
    AnyTransform process;
  } const cases[] = {
      {"in front", chain(ZeroNans{}, ClipByGlobalNorm{.clip_norm = 1})},
      {"behind", chain(CheckFinite{.policy = NonFinite::zero}, ClipByGlobalNorm{.clip_norm = 1})},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Monitor monitor;
    Steps steps(monitor.around(c.process));
    const StepInfo info = steps.run({3, 4}, std::nan(""));
    EXPECT_DOUBLE_EQ(info.clipped_norm, 1);
    const MonitorReport r = monitor.report();
    EXPECT_NEAR(r.last_clipped_norm, 1, 1e-14);
    EXPECT_NEAR(r.variables[0].last_clipped_norm, 1, 1e-14);
    EXPECT_EQ(r.variables[1].last_clipped_norm, 0);
    EXPECT_EQ(r.non_finite, 1);
    EXPECT_EQ(r.last_non_finite, "b");
    EXPECT_EQ(r.variables[0].non_finite, 0);
    EXPECT_EQ(r.variables[1].non_finite, 1);
    EXPECT_NE(to_string(r).find("1 steps not finite, the newest in 'b'\n"), std::string::npos);
  }
}

TEST(Monitor, NamesNoVariableWhereTheLossAloneIsNotFinite) {
  Monitor monitor;
  Steps steps(monitor.around(
      chain([](Gradients&, const Variables&, StepInfo& info) { info.loss = std::nan(""); },
            CheckFinite{.policy = NonFinite::skip})));
  EXPECT_TRUE(steps.run({3, 4}, 0).skip);
  EXPECT_EQ(monitor.report().last_non_finite, "");
  EXPECT_NE(to_string(monitor.report()).find("1 steps not finite\n"), std::string::npos);
  steps.run({3, 4}, std::nan(""));
  EXPECT_EQ(monitor.report().last_non_finite, "b");
  steps.run({3, 4}, 0);
  EXPECT_EQ(monitor.report().last_non_finite, "");  // of the newest
}

TEST(Monitor, KnowsALimitOnlyWhereAllWereMultipliedByOneFactor) {
  struct {
    const char* name;
    AnyTransform clip;
    bool only_scaled;
    std::optional<double> limit;
  } const cases[] = {
      {"global", ClipByGlobalNorm{.clip_norm = 1}, true, 1},
      {"of order 1, then 2",
       chain(ClipByGlobalNorm{.clip_norm = 100, .norm_type = 1}, ClipByGlobalNorm{.clip_norm = 1}),
       true,
       {}},
      {"zeroed, then global",
       chain(CheckFinite{.policy = NonFinite::zero}, ClipByGlobalNorm{.clip_norm = 1}), true, 1},
      {"AutoClip", AutoClip{.percentile = 10}, true, {}},
      {"by norm", ClipByNorm{.clip_norm = 1}, false, {}},
      {"by value", ClipByValue{-1, 1}, false, {}},
      {"some", only("a", ClipByGlobalNorm{.clip_norm = 1}), false, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Monitor monitor;
    Steps steps(monitor.around(c.clip));
    for (int i = 1; i < 6; ++i) steps.run({3. * i, 4. + i}, 12 - i);
    steps.run({3, 4}, std::nan(""));
    const MonitorReport r = monitor.report();
    EXPECT_GT(r.clip_rate, 0);
    EXPECT_EQ(r.only_scaled, c.only_scaled);
    ASSERT_EQ(r.limit.has_value(), c.limit.has_value());
    EXPECT_NEAR(r.limit.value_or(0), c.limit.value_or(0), 1e-6);
  }
}

TEST(Monitor, CountsClipsOfStepsThatWereNotSkipped) {
  Monitor monitor;
  Steps steps(monitor.around(
      chain(ClipByGlobalNorm{.clip_norm = 1},
            [](Gradients&, const Variables&, StepInfo& info) { info.skip = info.norm > 10; })));
  steps.run({3, 4}, 0);
  steps.run({0.3, 0.4}, 0);
  steps.run({0.3, 0.4}, 0);
  EXPECT_TRUE(steps.run({3, 4}, 12).skip);
  EXPECT_TRUE(steps.run({3, 4}, kInf).skip);
  const MonitorReport r = monitor.report();
  EXPECT_EQ(r.skipped, 2);
  EXPECT_EQ(r.skipped_finite, 1);
  EXPECT_DOUBLE_EQ(r.clip_rate, 1. / 3);
  EXPECT_DOUBLE_EQ(r.variables[0].clip_rate, 1. / 3);
}

TEST(Monitor, OfTheLargestElementThereAreNoShares) {
  Monitor monitor;
  Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 1, .norm_type = kInf}));
  steps.run({3, 4}, 12);
  const MonitorReport r = monitor.report();
  EXPECT_EQ(r.order, kInf);
  EXPECT_EQ(r.variables[0].share, 0);
  EXPECT_EQ(r.variables[1].share, 0);
}

TEST(Monitor, ComparesParametersEverySoManySteps) {
  Monitor monitor({.every = 3});
  Steps steps(monitor.around(MeasureNorm{}));
  const auto update = [&](std::vector<double> a, double b) {
    steps.run({1, 1}, 1);
    steps.vars.assign(steps.a, vector(a));
    steps.vars.assign(steps.b, vector({b}));
  };
  steps.vars.assign(steps.a, vector({3, 4}));
  steps.vars.assign(steps.b, vector({0}));
  update({3.5, 4}, 2);                                 // step 1: from (3, 4) by 0.5, from 0 by 2
  EXPECT_FALSE(monitor.report().variables[0].update);  // the next one sees it
  update({300, 400}, 2);
  MonitorReport r = monitor.report();
  EXPECT_EQ(r.compared_step, 1);
  EXPECT_DOUBLE_EQ(r.variables[0].update.value(), 0.1);
  EXPECT_EQ(r.variables[1].update.value(), kInf);
  EXPECT_FALSE(r.variables[1].update50);
  update({3, 4}, 4);
  update({3, 4}, 4);  // step 4 moves nothing: not counted
  update({3, 4}, 4);
  update({3, 4}, 4);
  EXPECT_EQ(monitor.report().compared_step, 1);
  update({3, 4}, 5);  // step 7
  update({3, 4}, 5);
  r = monitor.report();
  EXPECT_EQ(r.compared_step, 7);
  EXPECT_EQ(r.variables[0].update.value(), 0);
  EXPECT_DOUBLE_EQ(r.variables[0].update50.value(), 0.05);
  EXPECT_DOUBLE_EQ(r.variables[1].update50.value(), 0.25);
}

TEST(Monitor, IsNoPartOfWhatIsSaved) {
  Variables vars;
  add_variable(vars, "a", {2}, {3, 4});
  const AnyTransform plain = chain(CheckFinite{.most_skips = 3}, ClipByNorm{.clip_norm = 2});
  const AnyTransform watched = Monitor().around(plain);
  EXPECT_EQ(to_string(settings_of(watched)), to_string(settings_of(plain)));
  const auto names_of = [&](const AnyTransform& transform) {
    StateDict saved;
    transform.init(vars).save("process", saved);
    std::string names;
    for (const auto& [name, value] : saved) names += name + "\n";
    return names;
  };
  EXPECT_EQ(names_of(watched), names_of(plain));
  EXPECT_NE(names_of(plain), "");
}

TEST(Monitor, RefusesOptionsThatMakeNoSense) {
  EXPECT_THROW(Monitor({.window = 0}), InvalidArgument);
  EXPECT_THROW(Monitor({.every = -1}), InvalidArgument);
  EXPECT_EQ(Monitor().report().steps, 0);
}

TEST(Monitor, KeepsTheNewestReportOfTheSequenceUntilItBeginsAnew) {
  Monitor monitor;
  {
    Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 1}));
    monitor.note({{{"h", {1, 0.5}}}, {}});
    steps.run({3, 4}, 12), steps.run({3, 4}, 12);
    monitor.note({{{"h", {1, 0.25}}}, {{"f", false, 0.5, 0.1, 0.2}}});
    steps.run({3, 4}, 12);
  }
  const MonitorReport report = monitor.report();
  EXPECT_EQ(report.sequence_step, 2);
  EXPECT_EQ(report.sequence.value().states.at(0).by_lag, (std::vector{1, 0.25}));
  EXPECT_NE(to_string(report).find("after 2 steps:\n"
                                   "h: 0.25 of the gradient after 1 steps, 0.25 times a step\n"
                                   "gate f: mean 0.5, 10 % closed, 20 % open\n"),
            std::string::npos)
      << to_string(report);
  Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 1}));
  EXPECT_FALSE(monitor.report().sequence);
}

TEST(Monitor, RefusesToWatchTwoStepsAtATime) {
  Monitor monitor;
  Steps first(monitor.around(ClipByGlobalNorm{.clip_norm = 1}));
  first.run({3, 4}, 12);
  Steps second(monitor.around(ClipByGlobalNorm{.clip_norm = 1}));
  second.run({3, 4}, 12);
  EXPECT_THROW(first.run({3, 4}, 12), InvalidArgument);
  second.run({3, 4}, 12);
  EXPECT_EQ(monitor.report().steps, 2);
}

TEST(Monitor, PrintsATable) {
  Monitor monitor({.every = 0});
  Steps steps(monitor.around(ClipByGlobalNorm{.clip_norm = 6.5}));
  steps.run({3, 4}, 12);
  EXPECT_EQ("\n" + to_string(monitor.report()), R"(
1 of 1 steps                            p50        p95        max  p50 after  clipped   update
all                                      13         13         13        6.5     100%        -
a                                         5          5          5        2.5     100%        -
b                                        12         12         12          6     100%        -
)");
}

}  // namespace
}  // namespace rein
