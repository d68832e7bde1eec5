#include "bench_optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>
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

void restore(Gradients& gradients, const Gradients& fresh, ThreadTeam& team) {
  constexpr int64_t kGrain = 65536;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const auto from = fresh.dense<float>(i);
    const auto to = gradients.dense<float>(i);
    team.run_ranges(std::ssize(from), kGrain, [&](int64_t begin, int64_t end) {
      std::copy(from.begin() + begin, from.begin() + end, to.begin() + begin);
    });
  }
}

// Of the lines of memory in which a number has changed.
double changed_bytes(const Gradients& gradients, const Gradients& fresh) {
  constexpr size_t kLine = 64 / sizeof(float);
  double bytes = 0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const auto now = gradients.dense<float>(i), before = fresh.dense<float>(i);
    for (size_t at = 0; at < now.size(); at += kLine) {
      const size_t n = std::min(kLine, now.size() - at);
      if (!std::ranges::equal(now.subspan(at, n), before.subspan(at, n)))
        bytes += static_cast<double>(n * sizeof(float));
    }
  }
  return bytes;
}

StateDict saved(const AnyState& state) {
  StateDict dict;
  state.save("", dict);
  return dict;
}

// Of the arrays of a state in which something has changed: what is remembered and not used stays.
double changed_bytes(const StateDict& now, const StateDict& before) {
  double bytes = 0;
  for (const auto& [name, value] : now) {
    const auto* array = std::get_if<Tensor>(&value);
    const auto found = before.find(name);
    const auto* old = found == before.end() ? nullptr : std::get_if<Tensor>(&found->second);
    if (!array || array->size() == 0) continue;
    if (!old || old->spec() != array->spec() ||
        std::memcmp(old->data(), array->data(), array->spec().bytes()) != 0)
      bytes += static_cast<double>(array->spec().bytes());
  }
  return bytes;
}

// Of the gradients whose place takes the deltas of a whole variable, until they are added.
double whole_bytes(const AnyRule& rule, AnyRule::State& state, const Gradients& gradients) {
  double bytes = 0;
  for (size_t i = 0; i < gradients.size(); ++i)
    if (rule.whole_variable(state, i))
      bytes += static_cast<double>(gradients.layout().entries[i].spec.bytes());
  return bytes;
}

}  // namespace

OptimizerBench bench_optimizer(const OptimizerBenchSettings& settings) {
  checked_threads("bench optimizer", settings.threads);
  if (settings.parameters < kTensors)
    throw UsageError(fmt::format("bench optimizer: {} parameters; there are {} tensors",
                                 settings.parameters, kTensors));
  constexpr double kArrays = 3;  // of parameters, and gradients twice
  check_memory("bench optimizer",
               kArrays * sizeof(float) * static_cast<double>(settings.parameters));
  const AnyTransform clip = make_clip(settings.clip);
  const AnyRule rule = make_rule(settings.rule, 1e-3);

  Variables variables(Seed{1});
  add_tensors(variables, settings.parameters);
  Gradients gradients(variables), fresh(variables);
  fill(gradients), fill(fresh);
  ThreadTeam team(settings.threads);
  gradients.team = &team;
  AnyTransform::State clip_state = clip.init(variables);
  AnyRule::State rule_state = rule.init(variables);
  Streams streams(team);

  StepInfo info;
  const auto clip_all = [&] {
    ++info.step;
    clip.update(gradients, clip_state, variables, info);
    clip.remember(clip_state);
  };
  const auto apply_all = [&] { apply_updates(variables, gradients, rule, rule_state, info, team); };
  const auto begin = [&] {
    restore(gradients, fresh, team);
    gradients.scale = 1;
  };
  const StateDict clip_before = saved(clip_state), rule_before = saved(rule_state);
  begin(), clip_all(), apply_all();  // touches all memory
  begin();
  const int64_t before = allocation_count();
  clip_all();
  const int64_t clip_allocations = allocation_count() - before;
  const double written_by_clip = changed_bytes(gradients, fresh);
  const int64_t between = allocation_count();
  apply_all();
  const int64_t allocations = clip_allocations + allocation_count() - between;

  // Gradients are read twice, parameters and states read and written.
  const double block = 4 * static_cast<double>(variables.parameter_count());
  const double states =
      changed_bytes(saved(clip_state), clip_before) + changed_bytes(saved(rule_state), rule_before);
  const double read_by_clip = clip_reads_parameters(settings.clip) ? block : 0;
  const double bytes = 2 * block + written_by_clip + read_by_clip + 2 * block + 2 * states +
                       2 * whole_bytes(rule, rule_state, gradients);
  Times all, process, apply;
  std::vector<double> shares;
  const auto once = [&] {
    const double clipped = seconds_of(clip_all), applied = seconds_of(apply_all);
    process.add(clipped), apply.add(applied), all.add(clipped + applied);
  };
  constexpr size_t kFewest = 5;
  const auto start = Clock::now();
  while (all.count() < kFewest || seconds_since(start) < settings.seconds) {
    begin();
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
