#include "bench_monitor.h"

#include "bench_clock.h"
#include "rein/rein.h"

namespace rein::app {
namespace {

class Clips {
 public:
  Clips(AnyTransform process, const Variables& variables, ThreadTeam& team)
      : process_(std::move(process)),
        variables_(variables),
        gradients_(variables),
        state_(process_.init(variables)) {
    gradients_.team = &team;
    for (size_t i = 0; i < variables.size(); ++i) {
      gradients_.set_kind(i, Gradients::Kind::dense);
      std::ranges::fill(gradients_.dense<float>(i), 1e-2f);
    }
  }
  void run(int64_t steps) {
    for (int64_t i = 0; i < steps; ++i) {
      StepInfo info;
      gradients_.scale = 1;
      process_.update(gradients_, state_, variables_, info);
    }
  }

 private:
  AnyTransform process_;
  const Variables& variables_;
  Gradients gradients_;
  AnyTransform::State state_;
};

}  // namespace

double measure_monitor(const Variables& variables, int threads) {
  const ClipByGlobalNorm clip{.clip_norm = 5};
  const MonitorOptions options;
  ThreadTeam team(threads);
  Clips alone(clip, variables, team);
  Clips watched(Monitor(options).around(clip), variables, team);
  Times of_alone, of_watched;
  for (int burst = 0; burst < 4; ++burst) {  // the first warms up, each holds one comparison
    const double a = seconds_of([&] { alone.run(options.every); });
    const double w = seconds_of([&] { watched.run(options.every); });
    if (burst == 0) continue;
    of_alone.add(a);
    of_watched.add(w);
  }
  return 1e3 * (of_watched.least() - of_alone.least()) / static_cast<double>(options.every);
}

double measure_inspect(const StepNetwork& network, const Tensor& input, int threads) {
  ThreadTeam team(threads);
  Times times;
  for (int i = 0; i < 3; ++i) times.measure([&] { network.inspect(input, team); });
  return 1e3 * times.least();
}

}  // namespace rein::app
