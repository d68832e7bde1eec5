#include "bench_ceiling.h"

#include <fmt/format.h>
#include <unistd.h>

#include "rein/base/error.h"
#include "rein/kernels/gemm.h"
#include "usage_error.h"

namespace rein::app {

int checked_threads(const char* command, int threads) {
  if (threads < 0)
    throw UsageError(fmt::format("{}: {} threads; 0 takes all there are", command, threads));
  return threads;
}

void check_memory(const char* command, double bytes) {
  const double all =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes > all)
    throw UsageError(fmt::format("{}: this takes {:.0f} GB at least, and the machine has {:.0f}",
                                 command, 1e-9 * bytes, 1e-9 * all));
}

Ceiling::Ceiling(int threads) : team_(threads), work_(static_cast<size_t>(team_.size())) {
  if (!kernels::gemm_self_test(team_)) throw Error("bench: products come out wrong");
}

void Ceiling::measure() {
  team_.run(team_.size(), [](int64_t) {});  // wakes the threads
  times_.measure([&] {
    team_.run(team_.size(), [&](int64_t thread) {
      Work& w = work_[static_cast<size_t>(thread)];
      for (int i = 0; i < kRepetitions; ++i)
        kernels::gemm_tile<float>(kernels::Trans::no, kernels::Trans::no, kM, kN, kK, w.a.data(),
                                  kK, w.b.data(), kN, 0, w.c.data(), kN);
    });
  });
}

double Ceiling::gflops() const {
  return 2e-9 * kM * kN * kK * kRepetitions * team_.size() / times_.steady();
}

}  // namespace rein::app
