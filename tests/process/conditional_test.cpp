// Transforms of some of the steps, against Optax and by hand.
#include <gtest/gtest.h>

#include <limits>

#include "process/steps.h"
#include "rein/process/clip.h"
#include "rein/process/monitor.h"

namespace rein {
namespace {

// optax.trace(decay): m = decay m + g, which goes on.
struct Trace {
  double decay = 0.5;

  struct State {
    std::vector<double> m;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("m", self.m);
    }
  };
  State init(const Variables& variables) const {
    return {std::vector<double>(variables.layout().size)};
  }
  void update(Gradients& gradients, State& state, const Variables&, StepInfo&) const {
    double* m = state.m.data();
    for (size_t i = 0; i < gradients.size(); ++i)
      for (double& g : gradients.stored<double>(i)) {
        *m = decay * *m + g * gradients.scale;
        g = *m++;
      }
    gradients.scale = 1;
  }
};
static_assert(Transform<Trace>);

bool is_even(int64_t n) { return n % 2 == 0; }

Lists gradients_of(int step) {
  const double k = step;
  return {{3 * (k + 1), -4}, {12 - k}};
}

// Optax 0.2.8 in float64:
//   t = make(optax.chain(optax.clip_by_global_norm(5.0), optax.trace(decay=0.5)),
//            lambda step: step % 2 == 0)
//   g = {"a": [3.0 * (k + 1), -4.0], "b": [12.0 - k]}   for k in range(5)
const Lists kRun = {{1.153846153846154, -1.5384615384615385, 4.615384615384616},
                    {3.783040326379011, -2.194171768988962, 5.87004480708779},
                    {6.186007670543518, -2.2422825531222177, 5.225415740799368}};

struct Case {
  const char* name;
  Conditional (*make)(AnyTransform, Condition);
};
const Case kCases[] = {{"transform", conditionally_transform}, {"mask", conditionally_mask}};

AnyTransform clip_and_trace() { return chain(ClipByGlobalNorm{.clip_norm = 5}, Trace{}); }

TEST(Conditional, IsAsOptaxComputes) {
  for (const auto& [name, make] : kCases) {
    Steps steps(make(clip_and_trace(), is_even), {{2}, {1}});
    for (int k = 0; k < 5; ++k) {
      SCOPED_TRACE(testing::Message() << name << ", step " << k);
      const Lists got = steps.step(gradients_of(k));
      if (!is_even(k)) {
        EXPECT_EQ(got, make == conditionally_mask ? Lists({{0, 0}, {0}}) : gradients_of(k));
        EXPECT_FALSE(steps.info.measured);
        continue;
      }
      const auto& want = kRun[static_cast<size_t>(k / 2)];
      const std::vector<double> all = {got[0][0], got[0][1], got[1][0]};
      for (size_t i = 0; i < 3; ++i)  // a few roundings in double
        EXPECT_NEAR(all[i], want[i], 1e-14 * std::abs(want[i])) << i;
    }
  }
}

TEST(Conditional, GoesOnFromWhatWasSaved) {
  for (const auto& [name, make] : kCases) {
    Variables vars({}, DType::float64);
    add_variable(vars, "v", {1}, {0});
    const AnyTransform transform = make(Trace{}, is_even);
    const auto step = [&](AnyTransform::State& state, double g) {
      Gradients gradients(vars);
      gradients.set(0, vector({g}, DType::float64));
      StepInfo info;
      transform.update(gradients, state, vars, info);
      transform.remember(state);
      return numbers(gradients.get(0))[0];
    };
    auto state = transform.init(vars);
    step(state, 8), step(state, 100), step(state, 4);
    StateDict saved;
    state.save("", saved);
    auto other = transform.init(vars);
    StateReader reader(saved);
    other.load("", reader);
    reader.check("test", Where::here());
    other.load("", reader);
    EXPECT_EQ(step(other, 3), make == conditionally_mask ? 0 : 3) << name;  // the fourth: odd
    EXPECT_EQ(step(other, 1), 1 + 0.5 * (4 + 0.5 * 8)) << name;  // without the 100 and the 3
  }
}

TEST(Conditional, KnowsTheStep) {
  // A limit for large norms alone: the first transform takes the norm, the condition looks at it.
  Steps steps(chain(MeasureNorm{},
                    conditionally_transform(ClipByValue{-1, 1},
                                            [](const StepInfo& info) { return info.norm > 10; })),
              {{2}});
  EXPECT_EQ(steps.step(Lists{{6, 8}}), Lists({{6, 8}}));
  EXPECT_EQ(steps.step(Lists{{6, 9}}), Lists({{1, 1}}));

  Steps both(conditionally_mask(chain(),
                                [](int64_t before, const StepInfo& info) {
                                  return before == 1 || info.examples == 7;
                                }),
             {{1}});
  EXPECT_EQ(both.step(Lists{{5}}), Lists({{0}}));
  EXPECT_EQ(both.step(Lists{{5}}), Lists({{5}}));
  EXPECT_EQ(both.step(Lists{{5}}), Lists({{0}}));
  both.examples = 7;
  EXPECT_EQ(both.step(Lists{{5}}), Lists({{5}}));
}

TEST(Conditional, DoesNotCountStepsThatWereSkippedInFrontOfIt) {
  Steps steps(chain([](Gradients& all, const Variables&,
                       StepInfo& info) { info.skip = all.dense<double>(0)[0] < 0; },
                    conditionally_mask(chain(), is_even)),
              {{1}});
  EXPECT_EQ(steps.step(Lists{{1}}), Lists({{1}}));
  EXPECT_EQ(steps.step(Lists{{-1}}), Lists({{-1}}));
  EXPECT_EQ(steps.step(Lists{{1}}), Lists({{0}}));
}

TEST(Conditional, AMaskKeepsKindsAndZeroesNaN) {
  Variables vars;
  add_variable(vars, "a", {2}, {0, 0});
  add_variable(vars, "absent", {2}, {0, 0});
  add_variable(vars, "rows", {4, 1}, {0, 0, 0, 0});
  Gradients gradients(vars);
  gradients.set(0, vector({std::numeric_limits<double>::quiet_NaN(), 2}));
  gradients.set(2, rows({3, 1}, {4, 1}, {5, 6}));
  gradients.scale = std::numeric_limits<double>::infinity();
  const AnyTransform mask = conditionally_mask(chain(), [](int64_t) { return false; });
  auto state = mask.init(vars);
  StepInfo info;
  mask.update(gradients, state, vars, info);
  EXPECT_EQ(numbers(gradients.get(0)), std::vector<double>({0, 0}));
  EXPECT_EQ(gradients.kind(1), Gradients::Kind::absent);
  ASSERT_EQ(gradients.kind(2), Gradients::Kind::sparse);
  EXPECT_EQ(numbers(gradients.get(2)), std::vector<double>({0, 0}));
}

TEST(Conditional, AMonitorSeesThatAMaskLeftNothing) {
  const Monitor monitor;
  Steps steps(monitor.around(chain(MeasureNorm{}, conditionally_mask(chain(), is_even))), {{2}});
  for (int k = 0; k < 2; ++k) steps.step(Lists{{3, 4}});
  EXPECT_EQ(steps.info.norm, 5);
  EXPECT_EQ(steps.info.clipped_norm, 0);
  const MonitorReport report = monitor.report();
  EXPECT_EQ(report.variables[0].last_norm, 5);
  EXPECT_EQ(report.variables[0].last_clipped_norm, 0);
}

}  // namespace
}  // namespace rein
