#include <fmt/format.h>

#include "bench_step.h"
#include "commands.h"

namespace rein::app {

int measure_step(const BenchStepRequest& request) {
  const StepBench b = bench_step(request.shape, request.threads, request.seconds);
  if (request.json) {
    fmt::print("{}\n", to_json(b));
    return kOk;
  }
  fmt::print(
      "{} on {} threads: {:.3f} ms a step at best, {:.3f} in the median\n"
      "{:.1f} GFLOP/s, {:.0f} % of the {:.1f} of plain products; {:.0f} MB, {} allocations a "
      "step\n",
      b.shape, b.threads, b.ms_min, b.ms_median, b.gflops, 100 * b.share, b.ceiling_gflops,
      b.peak_mb, b.allocations);
  for (const Phase& p : b.phases)
    if (p.ms >= 0.001) fmt::print("  {:<40} {:9.3f} ms\n", p.name, p.ms);
  return kOk;
}

}  // namespace rein::app
