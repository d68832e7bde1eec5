// How fast products can be: the bound of everything that multiplies.
#pragma once

#include <vector>

#include "bench_clock.h"
#include "rein/base/thread_team.h"

namespace rein::app {

/// Throws UsageError for a negative number of threads, which it returns otherwise.
int checked_threads(const char* command, int threads);

/// Throws UsageError if `bytes`, the least that a measurement needs, are more than the machine has:
/// the system would hand them out, and end the process when they are touched.
void check_memory(const char* command, double bytes);

/// Products 128 x 512 x 128 of the library behind `gemm`, one on each thread.
class Ceiling {
 public:
  /// Throws Error if products come out wrong in this process.
  explicit Ceiling(int threads);

  void measure();
  /// How fast all threads together multiply, of all measurements (`Times::steady`).
  double gflops() const;
  int threads() const { return team_.size(); }

 private:
  static constexpr int64_t kM = 128, kN = 512, kK = 128;
  static constexpr int kRepetitions = 8;
  struct Work {
    std::vector<float> a = std::vector<float>(kM * kK, 0.5f);
    std::vector<float> b = std::vector<float>(kK * kN, 0.25f);
    std::vector<float> c = std::vector<float>(kM * kN);
  };
  ThreadTeam team_;
  std::vector<Work> work_;
  Times times_;  // of kRepetitions products on each thread
};

}  // namespace rein::app
