#include "bench_step.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <span>
#include <thread>
#include <vector>

#include "allocations.h"
#include "bench_ceiling.h"
#include "bench_clock.h"
#include "bench_monitor.h"
#include "names.h"
#include "usage_error.h"

namespace rein::app {
namespace {

const StepShape& shape_of(std::string_view name) {
  for (const StepShape& s : step_shapes())
    if (s.name == name) return s;
  throw UsageError(fmt::format("bench step: no shape '{}'; there are {}", name, shape_names()));
}

// Multiplications and additions of the products: forward, and two backward, except for inputs that
// are numbers, whose gradient nobody needs.
double gflop_of(const StepShape& s) {
  const auto product = [](int64_t m, int64_t n, int64_t k) {
    return 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  };
  const int64_t rows = s.steps * s.batch;
  const int input_products = s.vocabulary > 0 ? 3 : 2;
  if (s.layers == 0)
    return input_products * product(rows, s.units, s.inputs) +
           3 * product(rows, s.outputs, s.units);
  return input_products * product(rows, 4 * s.units, s.inputs) +
         3 * (2 * s.layers - 1) * product(rows, 4 * s.units, s.units) +
         3 * product(s.predictions(), s.outputs, s.units);
}

// The inputs; gates, a cell and an output of each unit; and logits.
double least_bytes(const StepShape& s) {
  const double rows = static_cast<double>(s.steps) * static_cast<double>(s.batch);
  const int64_t a_row = (s.vocabulary > 0 ? 1 : s.inputs) + s.layers * 6 * s.units;
  return sizeof(float) * (rows * static_cast<double>(a_row) +
                          static_cast<double>(s.predictions()) * static_cast<double>(s.outputs));
}

double process_cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// Others who train while somebody measures, until they go out of scope.
class OtherCallers {
 public:
  OtherCallers(int count, const StepShape& shape, std::span<const Tensor> inputs,
               const StepBenchSettings& settings) {
    for (int i = 0; i < count; ++i)
      threads_.emplace_back([=](const std::stop_token& stop) {
        StepNetwork network(shape);
        Step step = network.step(settings.threads, settings.way, settings.products);
        while (!stop.stop_requested()) step.run(inputs);
      });
  }

 private:
  std::vector<std::jthread> threads_;
};

}  // namespace

std::string shape_names() {
  std::string names;
  for (const StepShape& s : step_shapes())
    names += (names.empty() ? "" : ", ") + std::string(s.name);
  return names;
}

StepBench bench_step(const StepBenchSettings& settings) {
  StepShape shape = shape_of(settings.shape);
  if (settings.batch > 0) shape.batch = settings.batch;
  const int threads = settings.threads;
  const bool whole = settings.way == StepWay::mean;
  check_possible(settings.products);
  checked_threads("bench step", threads);
  check_memory("bench step", least_bytes(shape));
  const double before_data = process_cpu_ms();
  const Tensor inputs[] = {whole ? draw_inputs(shape) : inputs_by_example(shape),
                           whole ? draw_targets(shape) : targets_by_example(shape)};
  const double data_ms = process_cpu_ms() - before_data;
  StepNetwork network(shape);
  Step step = network.step(threads, settings.way, settings.products);
  step.run(inputs);
  const double start_ms = process_cpu_ms() - data_ms;
  Ceiling ceiling(threads);

  constexpr int kWarmUp = 2, kFewest = 10, kBurst = 4;
  for (int i = 0; i < kWarmUp; ++i) step.run(inputs);
  const int64_t before = allocation_count();
  step.run(inputs);
  const int64_t allocations = allocation_count() - before;
  const OtherCallers others(settings.callers - 1, shape, inputs, settings);

  Times times;
  const auto start = Clock::now();
  while (times.count() < kFewest || seconds_since(start) < settings.seconds) {
    ceiling.measure();
    for (int i = 0; i < kBurst; ++i) times.measure([&] { step.run(inputs); });
  }

  step.profile(true);  // apart, as looking at the clock takes time too
  for (int i = 0; i < kBurst; ++i) step.run(inputs);

  StepBench result;
  result.shape = settings.shape;
  result.batch = shape.batch;
  result.products = settings.products;
  if (settings.way == StepWay::together) result.one_by_one_because = step.one_by_one_because();
  result.threads = ceiling.threads();
  result.callers = settings.callers;
  result.ms_min = 1e3 * times.least();
  result.ms_steady = 1e3 * times.steady();
  result.ms_median = 1e3 * times.median();
  result.gflop = gflop_of(shape);
  result.gflops = result.gflop / times.steady();
  result.ceiling_gflops = ceiling.gflops();
  result.share = result.gflops / result.ceiling_gflops;
  result.peak_mb = peak_megabytes();
  result.allocations = allocations;
  result.start_ms = start_ms;
  if (settings.monitor) {
    result.monitor_ms = measure_monitor(network.variables(), threads);
    result.inspect_ms = measure_inspect(network, draw_inputs(shape), threads);
  }
  for (const OpTime& time : step.op_times())
    result.phases.push_back({std::string(time.name), 1e3 * time.seconds / kBurst});
  return result;
}

std::string as_json(const StepBench& r) {
  std::string phases;
  for (const Phase& p : r.phases)
    phases += fmt::format(R"({}"{}": {:.4f})", phases.empty() ? "" : ", ", p.name, p.ms);
  const std::string monitor =
      r.monitor_ms
          ? fmt::format(R"("monitor_ms": {:.4f}, "monitor_share": {:.5f}, "inspect_ms": {:.3f}, )",
                        *r.monitor_ms, *r.monitor_ms / r.ms_min, *r.inspect_ms)
          : "";
  const std::string unit =
      r.products.narrow() ? fmt::format(R"("{}")", to_string(unit_of(r.products))) : "null";
  return fmt::format(
      R"({{"shape": "{}", "batch": {}, "precision": "{}", "unit": {}, "threads": {}, "callers": {}, "ms_min": {:.4f}, "ms_steady": {:.4f}, "ms_median": {:.4f}, "gflop": {:.6f}, )"
      R"("gflops": {:.2f}, "ceiling_gflops": {:.2f}, "share": {:.4f}, "peak_mb": {:.1f}, )"
      R"("allocations": {}, "start_ms": {:.2f}, {}"phases": {{{}}}}})",
      r.shape, r.batch, to_string(r.products.precision), unit, r.threads, r.callers, r.ms_min,
      r.ms_steady, r.ms_median, r.gflop, r.gflops, r.ceiling_gflops, r.share, r.peak_mb,
      r.allocations, r.start_ms, monitor, phases);
}

}  // namespace rein::app
