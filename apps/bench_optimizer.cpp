#include "bench_optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "allocations.h"
#include "bench_ceiling.h"
#include "bench_clock.h"
#include "bench_stream.h"
#include "names.h"
#include "rein/apply/apply.h"
#include "rein/nn/initializers.h"
#include "usage_error.h"

namespace rein::app {
namespace {

constexpr int64_t kTensors = 50;

void add_tensors(Variables& variables, int64_t parameters) {
  const int64_t each = parameters / kTensors, columns = std::min<int64_t>(each, 400);
  for (int64_t i = 0; i < kTensors; ++i)
    variables.add(fmt::format("tensor_{}", i), {each / columns, columns}, random_normal(0, 0.02));
}

void fill(Gradients& gradients) {
  for (size_t i = 0; i < gradients.size(); ++i) {
    const RandomStream random(Seed{1}, i);
    uint64_t at = 0;
    for (float& g : gradients.dense<float>(i))
      g = static_cast<float>(1e-3 * (random.uniform(at++ % 4096) - 0.5));
    gradients.set_kind(i, Gradients::Kind::dense);
  }
}

// Bytes a parameter: gradients read for the norm, which every form of clip measures, then read
// again; parameters and each slot read and written.
double bytes_of(const AnyRule& rule, AnyRule::State& state) {
  const auto slots = static_cast<double>(rule.slots(state).size());
  return 4 * (1 + 1 + 2 + 2 * slots);
}

}  // namespace

OptimizerBench bench_optimizer(const OptimizerBenchSettings& settings) {
  checked_threads("bench optimizer", settings.threads);
  if (settings.parameters < kTensors)
    throw UsageError(fmt::format("bench optimizer: {} parameters; there are {} tensors",
                                 settings.parameters, kTensors));
  const AnyTransform clip = make_clip(settings.clip);
  const AnyRule rule = make_rule(settings.rule, 1e-3);

  Variables variables(Seed{1});
  add_tensors(variables, settings.parameters);
  Gradients gradients(variables);
  fill(gradients);
  ThreadTeam team(settings.threads);
  gradients.team = &team;
  AnyTransform::State clip_state = clip.init(variables);
  AnyRule::State rule_state = rule.init(variables);
  Streams streams(team);

  StepInfo info;
  const auto clip_all = [&] {
    ++info.step;
    gradients.scale = 1;
    clip.update(gradients, clip_state, variables, info);
    clip.remember(clip_state);
  };
  const auto apply_all = [&] { apply_updates(variables, gradients, rule, rule_state, info, team); };
  clip_all(), apply_all();  // touches all memory
  const int64_t before = allocation_count();
  clip_all(), apply_all();
  const int64_t allocations = allocation_count() - before;
  const auto parameters = static_cast<double>(variables.parameter_count());
  const double bytes = parameters * bytes_of(rule, rule_state);
  Times all, process, apply;
  std::vector<double> shares;
  const auto once = [&] {
    const double clipped = seconds_of(clip_all), applied = seconds_of(apply_all);
    process.add(clipped), apply.add(applied), all.add(clipped + applied);
  };
  constexpr size_t kFewest = 5;
  const auto start = Clock::now();
  while (all.count() < kFewest || seconds_since(start) < settings.seconds) {
    streams.measure();
    once();
    shares.push_back(1e-9 * bytes / streams.last_in_place_gbps() / all.last());
  }

  OptimizerBench result;
  result.clip = settings.clip;
  result.rule = settings.rule;
  result.threads = team.size();
  result.parameters = variables.parameter_count();
  result.tensors = kTensors;
  result.ms_min = 1e3 * all.least();
  result.ms_median = 1e3 * all.median();
  result.process_ms = 1e3 * process.least();
  result.apply_ms = 1e3 * apply.least();
  result.bytes = bytes;
  result.stream_gbps = streams.in_place_gbps();
  result.share = 1e-9 * result.bytes / result.stream_gbps / all.least();
  result.share_median = median(std::move(shares));
  result.read_gbps = streams.read_gbps();
  result.allocations = allocations;
  return result;
}

std::string as_json(const OptimizerBench& r) {
  return fmt::format(
      R"({{"clip": "{}", "rule": "{}", "threads": {}, "parameters": {}, "tensors": {}, )"
      R"("ms_min": {:.4f}, "ms_median": {:.4f}, "process_ms": {:.4f}, "apply_ms": {:.4f}, )"
      R"("bytes": {:.0f}, "stream_gbps": {:.2f}, "read_gbps": {:.2f}, "share": {:.4f}, )"
      R"("share_median": {:.4f}, )"
      R"("allocations": {}}})",
      r.clip, r.rule, r.threads, r.parameters, r.tensors, r.ms_min, r.ms_median, r.process_ms,
      r.apply_ms, r.bytes, r.stream_gbps, r.read_gbps, r.share, r.share_median, r.allocations);
}

}  // namespace rein::app
