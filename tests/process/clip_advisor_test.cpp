// The sentences of ClipAdvisor, one row for each.
#include "rein/process/clip_advisor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "process/numbers.h"
#include "rein/process/clip.h"
#include "rein/process/monitor.h"

namespace rein {
namespace {

// 256 finite steps of ordinary norms, some of them clipped to 4.
MonitorReport ordinary() {
  MonitorReport r{.steps = 1000, .window = 256};
  r.norm = {.p05 = 0.9, .p50 = 1.8, .p95 = 4.1, .p99 = 6, .max = 7.5};
  r.last_norm = 1.7;
  r.clip_rate = 0.06;
  r.limit = 4;
  r.variables.resize(3);
  const char* names[] = {"embedding", "rnn/kernel", "rnn/bias"};
  for (size_t i = 0; i < 3; ++i) {
    r.variables[i].name = names[i];
    r.variables[i].norm = r.norm;
    r.variables[i].share = 0.33;
    r.variables[i].update50 = 1e-3;
  }
  return r;
}

struct Row {
  const char* name;
  std::function<void(MonitorReport&)> change;
  std::vector<AdviceKind> kinds;
  size_t which;  // of them is this:
  const char* text;
  std::optional<double> clip_norm{};
  const char* variable = "";
};

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using R = MonitorReport;
using K = AdviceKind;
const Row kRows[] = {
    {"ordinary",
     [](R&) {},
     {K::clips_outliers},
     0,
     "p50 1.8, p95 4.1, you clip 6 % of steps to 4: the outliers alone. Leave it."},
    {"seldom",
     [](R& r) { r.clip_rate = 1. / 256; },
     {K::clips_outliers},
     0,
     "p50 1.8, p95 4.1, you clip 0.39 % of steps to 4: the outliers alone. Leave it."},
    {"often",
     [](R& r) { r.clip_rate = 0.74, r.limit = 1; },
     {K::clips_often},
     0,
     "p50 1.8, p95 4.1, you clip 74 % of steps to 1; try 4.",
     4},
    {"always",
     [](R& r) { r.clip_rate = 1, r.limit = 0.1; },
     {K::clips_always},
     0,
     "p50 1.8, p95 4.1, you clip 100 % of steps to 0.1: steps of one length, so that the limit is "
     "a learning rate; try 4.",
     4},
    {"always, norms all alike",
     [](R& r) {
       r.clip_rate = 1, r.limit = 1;
       r.norm = {.p05 = 1.01, .p50 = 1.01, .p95 = 1.02, .p99 = 1.02, .max = 1.02};
     },
     {K::clips_always},
     0,
     "p50 1.01, p95 1.02, you clip 100 % of steps to 1: steps of one length, so that the limit is "
     "a learning rate; try 1.5.",
     1.5},
    {"often, by value",
     [](R& r) { r.clip_rate = 0.5, r.limit.reset(), r.only_scaled = false; },
     {K::clips_often},
     0,
     "p50 1.8, p95 4.1, you clip 50 % of steps, not to one global norm, which bends their "
     "direction; try ClipByGlobalNorm with 4.",
     4},
    {"often, to a limit that moves",
     [](R& r) { r.clip_rate = 0.85, r.limit.reset(); },
     {K::clips_often},
     0,
     "p50 1.8, p95 4.1, you clip 85 % of steps to a limit that moves; one that stays, for the "
     "outliers alone, is 4.",
     4},
    {"seldom, to a limit that moves",
     [](R& r) { r.limit.reset(); },
     {K::clips_outliers},
     0,
     "p50 1.8, p95 4.1, you clip 6 % of steps to a limit that moves: the outliers alone. Leave "
     "it."},
    {"all skipped",
     [](R& r) { r.clip_rate = 0, r.limit.reset(), r.skipped = r.skipped_finite = 256; },
     {K::skips},
     0,
     "256 of 256 finite steps were skipped (p50 1.8, p95 4.1): they teach nothing. Skip less "
     "(skip_above of CheckFinite, loss_above of a Rollback), or clip instead."},
    {"many skipped",
     [](R& r) { r.clip_rate = 0, r.limit.reset(), r.skipped = r.skipped_finite = 56; },
     {K::skips, K::never_clips},
     1,
     "p50 1.8, p95 4.1, largest 7.5: none of 200 steps was clipped. As a guard that costs nothing "
     "try 15.",
     15},
    {"few skipped",
     [](R& r) { r.skipped = r.skipped_finite = 25; },
     {K::clips_outliers},
     0,
     "p50 1.8, p95 4.1, you clip 6 % of steps to 4: the outliers alone. Leave it."},
    {"skipped, but not those that were not finite",
     [](R& r) { r.non_finite = 3, r.skipped = r.skipped_finite = 5; },
     {K::non_finite, K::clips_outliers},
     0,
     "3 of 256 steps were not finite. No clip mends that: skip them (CheckFinite) and find the "
     "cause."},
    {"never",
     [](R& r) { r.clip_rate = 0, r.limit.reset(); },
     {K::never_clips},
     0,
     "p50 1.8, p95 4.1, largest 7.5: none of 256 steps was clipped. As a guard that costs nothing "
     "try 15.",
     15},
    {"a tail that nothing clips",
     [](R& r) { r.clip_rate = 0, r.limit.reset(), r.norm.max = 180; },
     {K::tail},
     0,
     "The largest norm is 180, 100 times the median, and nothing was clipped; try 4 (p50 1.8, p95 "
     "4.1).",
     4},
    {"a tail that is clipped",
     [](R& r) { r.norm.max = 180; },
     {K::tail, K::clips_outliers},
     0,
     "The largest norm is 180, 100 times the median. Such steps are what a clip is for: keep one."},
    {"growing",
     [](R& r) { r.trend = 30, r.last_norm = 54; },
     {K::growing, K::clips_outliers},
     0,
     "The norms grew 30-fold within 256 steps (p50 1.8, the last 54). Lower the learning rate: a "
     "clip slows that down, but does not end it."},
    {"not finite",
     [](R& r) { r.non_finite = 3, r.last_non_finite = "rnn/kernel"; },
     {K::non_finite, K::clips_outliers},
     0,
     "3 of 256 steps were not finite, the newest in 'rnn/kernel'. No clip mends that: skip them "
     "(CheckFinite) and find the cause.",
     {},
     "rnn/kernel"},
    {"not finite but skipped",
     [](R& r) { r.non_finite = r.skipped = 3, r.last_non_finite = "rnn/kernel"; },
     {K::non_finite, K::clips_outliers},
     0,
     "3 of 256 steps were not finite, the newest in 'rnn/kernel'. No clip mends that: they were "
     "skipped; find the cause.",
     {},
     "rnn/kernel"},
    {"only the loss is not finite",
     [](R& r) { r.non_finite = 3; },
     {K::non_finite, K::clips_outliers},
     0,
     "3 of 256 steps were not finite. No clip mends that: skip them (CheckFinite) and find the "
     "cause."},
    {"all but a few not finite",
     [](R& r) { r.non_finite = 237, r.last_non_finite = "rnn/kernel"; },
     {K::non_finite, K::too_few_steps},
     1,
     "19 finite steps are too few to judge; ask again after 20."},
    {"few steps",
     [](R& r) { r.window = 7; },
     {K::too_few_steps},
     0,
     "7 finite steps are too few to judge; ask again after 20."},
    {"all 0", [](R& r) { r.norm = {}; }, {K::no_gradient}, 0, "All gradients of 256 steps are 0."},
    {"one makes it all",
     [](R& r) { r.variables[0].share = 0.96; },
     {K::clips_outliers, K::dominant_variable},
     1,
     "'embedding' makes 96 % of the squared global norm (p50 1.8, largest 7.5): a global clip "
     "shortens all others by its outliers. Clip it alone (ClipByNorm).",
     {},
     "embedding"},
    {"one makes it all, of order 1",
     [](R& r) { r.variables[0].share = 0.96, r.order = 1; },
     {K::clips_outliers, K::dominant_variable},
     1,
     "'embedding' makes 96 % of the global norm (p50 1.8, largest 7.5): a global clip shortens all "
     "others by its outliers. Clip it alone (ClipByNorm).",
     {},
     "embedding"},
    {"one makes it all, of order 3",
     [](R& r) { r.variables[0].share = 0.96, r.order = 3; },
     {K::clips_outliers, K::dominant_variable},
     1,
     "'embedding' makes 96 % of the global norm to the power 3 (p50 1.8, largest 7.5): a global "
     "clip shortens all others by its outliers. Clip it alone (ClipByNorm).",
     {},
     "embedding"},
    {"one of two variables with a gradient may",
     [](R& r) {
       r.variables[0].share = 0.96;
       r.variables[2].norm = {};
     },
     {K::clips_outliers, K::idle_variable},
     1,
     "'rnn/bias' had no gradient in 256 steps: the loss does not depend on it, or what it leads to "
     "is saturated.",
     {},
     "rnn/bias"},
    {"large updates",
     [](R& r) {
       r.variables[0].update50 = 0.1;
       r.variables[1].update50 = 0.23;
       r.variables[2].update50.reset();
     },
     {K::clips_outliers, K::large_update},
     1,
     "A step moves 'rnn/kernel' by 23 % of its length (0.1 % is usual). Lower the learning rate.",
     {},
     "rnn/kernel"},
    {"a sequence as it should be",
     [](R& r) {
       r.sequence = {
           {{"c", {0.5, 0.01, 1e-4}}, {"h", {1, 1e-3, 0}}},
           {{"i", false, 0.5, 0.89, 0}, {"j", true, 0, 0.44, 0.45}, {"f", false, 1, 0, 1}}};
     },
     {K::clips_outliers},
     0,
     "p50 1.8, p95 4.1, you clip 6 % of steps to 4: the outliers alone. Leave it."},
    {"it vanishes",
     [](R& r) {
       r.sequence = {{{"c", {0.5, 1e-3, 2e-7}}, {"h", {1, 1e-3, 0}}}, {}};
     },
     {K::clips_outliers, K::vanishing},
     1,
     "2e-07 of the gradient is left after 2 time steps (0.000632 times a step, through 'c'): the "
     "first ones teach nothing, and no clip mends that. Begin with a larger forget_bias, or "
     "shorten "
     "the sequence."},
    {"it explodes",
     [](R& r) {
       r.sequence = {{{"c", {0.5, 1, 2}}, {"h", {1, 20, 400}}}, {}};
     },
     {K::clips_outliers, K::exploding},
     1,
     "400 of the gradient is left after 2 time steps (20 times a step, through 'h'): it explodes "
     "on its way back. Clip the global norm, or at every time step (StepClip), and lower the "
     "learning rate."},
    {"beyond all numbers",
     [](R& r) {
       r.sequence = {{{"c", {0.5, 1, kNaN}}, {"h", {1, 20, 400}}}, {}};
     },
     {K::clips_outliers, K::exploding},
     1,
     "Gradients are not finite on their way back through 2 time steps, by 'c': weights or inputs "
     "have exploded. Go back to healthy weights, with a clip and a lower learning rate."},
    {"gates that are closed",
     [](R& r) {
       r.sequence = {{}, {{"i", false, 0.02, 0.97, 0}, {"j", true, 0.1, 0.5, 0.45}}};
     },
     {K::clips_outliers, K::closed_gate, K::closed_gate},
     1,
     "97 % of the activations of gate 'i' are closed: neither numbers nor gradients come through. "
     "Lower the learning rate, or begin with another bias.",
     {},
     "i"},
    {"a tanh at its ends",
     [](R& r) {
       r.sequence = {{}, {{"j", true, 0.1, 0.5, 0.45}}};
     },
     {K::clips_outliers, K::closed_gate},
     1,
     "95 % of the activations of gate 'j' are at -1 or 1, where their gradient is gone. Scale the "
     "inputs down, or lower the learning rate.",
     {},
     "j"},
};

TEST(ClipAdvisor, SaysWhatToSet) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    MonitorReport report = ordinary();
    row.change(report);
    const std::vector<Advice> all = ClipAdvisor{}.advise(report);
    std::vector<AdviceKind> kinds;
    for (const Advice& advice : all) kinds.push_back(advice.kind);
    ASSERT_EQ(kinds, row.kinds);
    const Advice& advice = all[row.which];
    EXPECT_EQ(advice.text, row.text);
    EXPECT_EQ(advice.variable, row.variable);
    EXPECT_EQ(advice.clip_norm.has_value(), row.clip_norm.has_value());
    EXPECT_DOUBLE_EQ(advice.clip_norm.value_or(0), row.clip_norm.value_or(0));
    EXPECT_FALSE(advice.evidence.empty());
  }
}

TEST(ClipAdvisor, GivesItsEvidence) {
  const auto all = ClipAdvisor{}.advise(ordinary());
  const std::vector<std::pair<std::string_view, double>> want = {
      {"p50", 1.8}, {"p95", 4.1}, {"max", 7.5}, {"clip_rate", 0.06}, {"limit", 4}};
  EXPECT_EQ(all.at(0).evidence, want);
}

TEST(ClipAdvisor, RoundsLimits) {
  const double pairs[][2] = {{4.1, 4},         {9.2, 10},  {0.0122, 0.01},
                             {0.0123, 0.015},  {692, 600}, {694, 800},
                             {1.3e-7, 1.5e-7}, {1, 1},     {0, 0}};
  for (const auto& [number, want] : pairs) EXPECT_DOUBLE_EQ(round_limit(number), want) << number;
}

// The whole way: norms 1, 2, ..., 100 under a limit of 20.
TEST(ClipAdvisor, ReadsWhatAMonitorSaw) {
  Monitor monitor;
  const AnyTransform process = monitor.around(ClipByGlobalNorm{.clip_norm = 20});
  Variables vars;
  add_variable(vars, "a", {1}, {1});
  AnyTransform::State state = process.init(vars);
  for (int i = 1; i <= 100; ++i) {
    Gradients g(vars);
    g.set(0, vector({static_cast<double>(i)}));
    StepInfo info{.step = i};
    process.update(g, state, vars, info);
  }
  const auto all = ClipAdvisor{.growth = 100}.advise(monitor.report());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].text, "p50 50.5, p95 95, you clip 80 % of steps to 20; try 100.");
}

}  // namespace
}  // namespace rein
