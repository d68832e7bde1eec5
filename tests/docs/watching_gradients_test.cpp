// The code of docs/gradient-processing.md, "Watching gradients".
#include <gtest/gtest.h>

#include <string>

#include "rein/rein.h"

namespace rein {
namespace {

// What the page prints goes here.
std::string printed;
void print(const std::string& text) { printed += text + "\n"; }

TEST(WatchingGradients, AMonitorAroundAClip) {
  Variables vars{Seed{1}};
  const Variable w = vars.add("w", {3, 1}, random_normal());
  const auto cost = [&](Value x, Value y) { return reduce_mean(squared_error(y, matmul(x, w))); };
  const Tensor x = Tensor::of<float>({1, 3}, {1, 2, 3}), y = Tensor::of<float>({1, 1}, {90});
  printed.clear();

  Monitor monitor;
  Step train = record(cost, vars, monitor.around(ClipByGlobalNorm{.clip_norm = 1}), Adam{});
  for (int i = 0; i < 200; ++i) train(x, y);
  print(to_string(monitor.report()));
  for (const Advice& advice : ClipAdvisor{}.advise(monitor.report())) print(advice.text);

  EXPECT_NE(printed.find("you clip 100 % of steps to 1: "), std::string::npos) << printed;
  EXPECT_NE(printed.find("200 of 200 steps"), std::string::npos) << printed;
}

TEST(WatchingGradients, ThroughTime) {
  Variables vars{Seed{1}};
  const BasicLSTMCell cell(vars, "lstm", 4, 8);
  const Tensor x({20, 3, 4});

  Monitor monitor;
  const auto cost = [&](Value in) {
    return reduce_mean(square(static_rnn(cell, unstack(in)).outputs.back()));
  };
  Step train = record(cost, vars, monitor.around(ClipByGlobalNorm{.clip_norm = 1}), Adam{});
  for (int i = 0; i < 500; ++i) {
    const StepInfo info = train(x);

    if (info.step % 500 == 0) {
      GradientTape tape;
      monitor.note(inspect(cell, tape.input(x)));  // x [steps, batch, input_size]
    }
  }
  const MonitorReport report = monitor.report();
  EXPECT_EQ(report.sequence_step, 500);
  EXPECT_EQ(report.sequence.value().states.size(), 2u);
}

}  // namespace
}  // namespace rein
