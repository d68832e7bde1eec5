#include <fmt/format.h>

#include "bench_kernel.h"
#include "bench_step.h"
#include "bench_stream.h"
#include "commands.h"

namespace rein::app {

int measure_step(const BenchStepRequest& request) {
  const StepBench b = bench_step(request.settings);
  if (request.json) {
    fmt::print("{}\n", as_json(b));
    return kOk;
  }
  fmt::print(
      "{} on {} threads: {:.3f} ms a step at best, {:.3f} steadily, {:.3f} in the median\n"
      "{:.1f} GFLOP/s steadily, {:.0f} % of the {:.1f} of plain products; {:.0f} MB, {} "
      "allocations a "
      "step\n",
      b.shape, b.threads, b.ms_min, b.ms_steady, b.ms_median, b.gflops, 100 * b.share,
      b.ceiling_gflops, b.peak_mb, b.allocations);
  if (!b.one_by_one_because.empty()) fmt::print("examples one by one: {}\n", b.one_by_one_because);
  if (b.monitor_ms)
    fmt::print("a Monitor adds {:.4f} ms a step, {:.2f} %\n", *b.monitor_ms,
               100 * *b.monitor_ms / b.ms_min);
  for (const Phase& p : b.phases)
    if (p.ms >= 0.001) fmt::print("  {:<40} {:9.3f} ms\n", p.name, p.ms);
  return kOk;
}

int measure_optimizer(const BenchOptimizerRequest& request) {
  const OptimizerBench b = bench_optimizer(request.settings);
  if (request.json) {
    fmt::print("{}\n", as_json(b));
    return kOk;
  }
  fmt::print(
      "{} and {} on {} parameters in {} tensors, {} threads: {:.3f} ms at best, {:.3f} in the "
      "median\n"
      "  clip {:.3f} ms, rule {:.3f} ms; {:.0f} MB at {:.1f} GB/s of an in-place stream ({:.1f} of "
      "reading alone): {:.0f} % of the bound, {:.0f} in the median; {} "
      "allocations\n",
      b.clip, b.rule, b.parameters, b.tensors, b.threads, b.ms_min, b.ms_median, b.process_ms,
      b.apply_ms, 1e-6 * b.bytes, b.stream_gbps, b.read_gbps, 100 * b.share, 100 * b.share_median,
      b.allocations);
  return kOk;
}

int measure_stream(const BenchStreamRequest& request) {
  const StreamBench b = bench_stream(request.threads, request.seconds);
  if (request.json)
    fmt::print("{}\n", as_json(b));
  else
    fmt::print("{:.0f} MB on {} threads: {:.1f} GB/s in place, {:.1f} read\n", b.megabytes,
               b.threads, b.in_place_gbps, b.read_gbps);
  return kOk;
}

int measure_kernels(const BenchKernelRequest& request) {
  const auto kernels = bench_kernels(request.products, request.threads, request.seconds);
  if (request.json) {
    fmt::print("{}\n", as_json(kernels));
    return kOk;
  }
  for (const KernelTime& k : kernels)
    if (k.gflops > 0)
      fmt::print("{:<36} {:12.2f} us {:8.1f} GFLOP/s {:6.0f} % of plain products\n", k.name, k.us,
                 k.gflops, 100 * k.share);
    else
      fmt::print("{:<36} {:12.2f} us {:8.3f} ns an element\n", k.name, k.us, k.ns_an_element);
  return kOk;
}

}  // namespace rein::app
