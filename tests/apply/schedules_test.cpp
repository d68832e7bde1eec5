// What the golden cases of schedules do not show.
#include "rein/apply/schedules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace rein {
namespace {

TEST(Schedules, WarmupStandsInFrontOfAny) {
  const Schedule s =
      Warmup{.steps = 4, .from = 0.1, .then = ExponentialDecay{.initial = 0.5, .decay_rate = 0.5}};
  // A line from 0.1 to 0.5, then the decay from its own step 0.
  const double want[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0.125};
  for (int64_t t = 0; t < 7; ++t) EXPECT_NEAR(s.at(t), want[t], 1e-15) << t;
  const Schedule at_once = Warmup{.steps = 0, .then = 3};
  EXPECT_EQ(at_once.at(0), 3);
}

TEST(Schedules, RestartsFallOnTheirStepForEveryPeriod) {
  // Periods 10 * 3^i begin at 5 (3^i - 1): a logarithm would miss some of them by rounding.
  const Schedule s =
      CosineRestarts{.initial = 1, .first_decay_steps = 10, .t_mul = 3, .m_mul = 0.5};
  int64_t begin = 0, length = 10;
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(s.at(begin), std::pow(0.5, i)) << begin;
    if (i > 0) {
      EXPECT_LT(s.at(begin - 1), 0.1 * s.at(begin)) << begin;
    }
    begin += length;
    length *= 3;
  }
}

TEST(Schedules, NoiseHasTheVarianceThatItSays) {
  // c = 1 (no periods), l = 0 from decay_steps on; there only the noise of 2 - variance 4 / 4 = 1 -
  // is left. Its share of draws within one deviation: 0.683, +- 4 deviations of 10,000 draws.
  LinearCosineDecay s{.initial = 1,
                      .decay_steps = 3,
                      .num_periods = 0,
                      .beta = 0,
                      .initial_variance = 4,
                      .variance_decay = 1};
  int within = 0;
  for (int64_t t = 3; t < 10003; ++t) within += std::abs(s.at(t)) < 1;
  EXPECT_NEAR(within, 6827, 4 * 47);
  EXPECT_EQ(s.at(7), s.at(7));
  const double before = s.at(7);
  s.seed = 1;
  EXPECT_NE(s.at(7), before);
}

TEST(Schedules, CycleStaysAtItsEnd) {
  const Schedule rate = OneCycle{.max = 1, .total_steps = 20, .div_factor = 10};
  EXPECT_NEAR(rate.at(0), 0.1, 1e-15);
  EXPECT_NEAR(rate.at(5), 1, 1e-15);  // 0.3 * 20 - 1
  EXPECT_NEAR(rate.at(19), 1e-5, 1e-15);
  EXPECT_NEAR(rate.at(500), 1e-5, 1e-15);
  const Schedule momentum = OneCycleMomentum{.total_steps = 20};
  EXPECT_NEAR(momentum.at(5), 0.85, 1e-15);
  EXPECT_NEAR(momentum.at(500), 0.95, 1e-15);
}

TEST(ReduceOnPlateau, CountsAsKeras) {
  // keras.callbacks.ReduceLROnPlateau: patience 2 falls at the second bad metric; the metric that
  // ends the cooldown counts again.
  ReduceOnPlateau rate{{.initial = 1,
                        .factor = 0.5,
                        .patience = 2,
                        .threshold = 0.1,
                        .cooldown = 2,
                        .minimum = 0.2,
                        .form = PlateauForm::keras}};
  EXPECT_EQ(rate.feed(5), 1);
  EXPECT_EQ(rate.feed(4.95), 1);  // not better by 0.1: bad 1
  EXPECT_EQ(rate.feed(5), 0.5);   // bad 2: falls, cooldown 2
  EXPECT_EQ(rate.feed(5), 0.5);   // cooldown 1
  EXPECT_EQ(rate.feed(5), 0.5);   // cooldown 0: bad 1
  EXPECT_EQ(rate.feed(5), 0.25);  // bad 2
  for (int i = 0; i < 3; ++i) rate.feed(5);
  EXPECT_EQ(rate.rate(), 0.2);  // not below the minimum
  EXPECT_EQ(rate.feed(std::numeric_limits<double>::quiet_NaN()), 0.2);
}

TEST(ReduceOnPlateau, NaNIsABadMetric) {
  ReduceOnPlateau rate{{.initial = 1, .factor = 0.5, .patience = 1}};
  rate.feed(1);
  rate.feed(std::nan(""));
  EXPECT_EQ(rate.feed(std::nan("")), 0.5);
}

TEST(ReduceOnPlateau, DescribesItselfAndGoesOnFromItsState) {
  const PlateauSettings settings{.initial = 1, .factor = 0.5, .patience = 0, .threshold = 0};
  ReduceOnPlateau a{settings}, b{settings};
  a.feed(3);
  a.feed(4);
  const Settings told = settings_of(Schedule(a));
  EXPECT_NE(to_string(told).find("factor: 0.5\n"), std::string::npos);
  ASSERT_EQ(told.live.size(), 1u);
  settings_of(Schedule(b)).live.at(0).state->set_state(told.live[0].state->state());
  EXPECT_EQ(b.rate(), 0.5);
  EXPECT_EQ(b.feed(2.9), 0.5);  // 3 was the best
  EXPECT_EQ(b.feed(2.95), 0.25);
}

template <class S>
void expect_refused(const S& s, const std::string& what) {
  try {
    const Schedule made = s;
    ADD_FAILURE() << "accepted: " << what;
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(std::string(S::name)), std::string::npos) << e.what();
  }
}

TEST(Schedules, RefuseWhatMakesNoSense) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refused(ExponentialDecay{.decay_steps = 0}, "decay_steps");
  expect_refused(ExponentialDecay{.decay_rate = -1}, "decay_rate");
  expect_refused(NaturalExpDecay{.initial = nan}, "initial");
  expect_refused(InverseTimeDecay{.decay_rate = -0.5}, "decay_rate");
  expect_refused(PolynomialDecay{.power = 0}, "power");
  expect_refused(PiecewiseConstant{.boundaries = {3, 2}, .values = {1, 2, 3}}, "must rise");
  expect_refused(PiecewiseConstant{.boundaries = {3}, .values = {1}}, "got 1 and 1");
  expect_refused(MultiStepDecay{.milestones = {5, 4}}, "must rise");
  expect_refused(CosineDecay{.alpha = nan}, "alpha");
  expect_refused(LinearCosineDecay{.initial_variance = -1}, "initial_variance");
  expect_refused(Warmup{.steps = -1}, "steps");
  expect_refused(CosineRestarts{.t_mul = 0.5}, "t_mul");
  expect_refused(OneCycle{.total_steps = 1}, "total_steps");
  expect_refused(OneCycle{.rise_fraction = 0.6, .three_phase = true}, "rise_fraction");
  expect_refused(OneCycleMomentum{.rise_fraction = 0}, "rise_fraction");
  expect_refused(OneCycle{.total_steps = 3},
                 "rise_fraction 0.3 of 3 total_steps is a rise of no more than a step; take more "
                 "steps, or a larger fraction");
  EXPECT_THROW(ReduceOnPlateau({.factor = 1}), InvalidArgument);
  EXPECT_THROW(ReduceOnPlateau({.patience = -1}), InvalidArgument);
}

}  // namespace
}  // namespace rein
