// A Monitor in a training step.
#include "rein/process/monitor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "rein/rein.h"

namespace rein {
namespace {

struct Training {
  explicit Training(int threads, const Monitor* monitor, AnyRule rule = Adam{.learning_rate = 0.01})
      : step(record([this](Value x_, Value y_) { return cost(x_, y_); }, vars,
                    monitor ? monitor->around(clip) : AnyTransform(clip), std::move(rule),
                    {.threads = threads})) {
    auto of_x = x.flat<float>(), of_y = y.flat<float>();
    const RandomStream random(Seed{3}, 0);
    for (size_t i = 0; i < of_x.size(); ++i) of_x[i] = static_cast<float>(random.normal(i));
    for (size_t i = 0; i < of_y.size(); ++i) of_y[i] = static_cast<float>(random.normal(1000 + i));
  }
  Value cost(const Value& x_, const Value& y_) const {
    return reduce_mean(squared_error(y_, add(matmul(x_, w), b)));
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) step(x, y);
  }
  std::vector<float> numbers() const {
    std::vector<float> all;
    for (size_t v = 0; v < vars.size(); ++v)
      for (float f : vars.values<float>(v)) all.push_back(f);
    return all;
  }
  Variables vars{Seed{1}};
  Variable w = vars.add("w", {64, 300}, random_normal(0, 0.1));  // more than one block of norms
  Variable b = vars.add("b", {300}, zeros());
  Tensor x{{2, 64}}, y{{2, 300}};
  ClipByGlobalNorm clip{.clip_norm = 0.02};
  Step step;
};

TEST(MonitorInAStep, ChangesNoBitAndIsTheSameForAnyNumberOfThreads) {
  Training plain(1, nullptr);
  plain.run(12);
  std::string first;
  for (int threads : {1, 2, 3}) {
    Monitor monitor({.window = 8, .every = 5});
    Training watched(threads, &monitor);
    watched.run(12);
    EXPECT_EQ(watched.numbers(), plain.numbers());
    const MonitorReport report = monitor.report();
    EXPECT_EQ(report.steps, 12);
    EXPECT_EQ(report.window, 8);
    EXPECT_EQ(report.compared_step, 11);
    std::string bits(6 * sizeof(double), '\0');
    const double numbers[] = {report.norm.p50,
                              report.norm.p95,
                              report.clipped_norm.p50,
                              report.variables[0].share,
                              report.variables[0].update50.value(),
                              report.variables[1].norm.p05};
    std::memcpy(bits.data(), numbers, sizeof(numbers));
    if (threads == 1) first = bits;
    EXPECT_EQ(bits, first) << threads;
  }
}

// w -= 0.5 g: the update is half of the clipped gradient.
TEST(MonitorInAStep, MeasuresWhatTheRuleApplied) {
  Monitor monitor({.every = 1});
  Training training(1, &monitor, GradientDescent{.learning_rate = 0.5});
  const auto length = [&] {
    double sum = 0;
    for (float f : training.vars.values<float>(0)) sum += static_cast<double>(f) * f;
    return std::sqrt(sum);
  };
  training.run(3);
  const double weight = length();
  training.run(1);  // step 4 moves it from there
  const double clipped = monitor.report().variables[0].last_clipped_norm;
  EXPECT_NEAR(monitor.report().last_clipped_norm, 0.02, 1e-15);
  training.run(1);  // and step 5 sees it
  EXPECT_EQ(monitor.report().compared_step, 4);
  // The weights, of 0.1, are rounded to 1e-8 of it; their updates are 1e-4 of it.
  EXPECT_NEAR(monitor.report().variables[0].update.value(), 0.5 * clipped / weight,
              1e-3 * 0.5 * clipped / weight);
}

}  // namespace
}  // namespace rein
