// How fast memory is: the bound of everything that passes once over more than the caches hold.
#pragma once

#include <string>

#include "bench_clock.h"
#include "rein/base/memory.h"
#include "rein/base/thread_team.h"

namespace rein::app {

/// Passes over one array, far larger than the last-level cache, by all threads of a team.
class Streams {
 public:
  explicit Streams(ThreadTeam& team);

  /// One pass of each kind.
  void measure();

  /// Of the fastest passes, in 1e9 bytes a second: x = x * 1, 8 bytes a float ...
  double in_place_gbps() const;
  double last_in_place_gbps() const;
  /// ... and looking at each float, 4 bytes.
  double read_gbps() const;
  double megabytes() const;

 private:
  ThreadTeam& team_;
  Buffer block_;
  Times in_place_, read_;
};

struct StreamBench {
  int threads = 0;
  double megabytes = 0;  // of the array
  double in_place_gbps = 0, read_gbps = 0;
};

/// Measures for about `seconds`. `threads` = 0 takes all; a negative number is a UsageError.
StreamBench bench_stream(int threads, double seconds = 2);

/// One JSON object on one line, with the fields by their names.
std::string as_json(const StreamBench& result);

}  // namespace rein::app
