#include "bench_stream.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>

#include "bench_ceiling.h"
#include "rein/base/error.h"
#include "rein/kernels/update.h"

namespace rein::app {
namespace {

constexpr int64_t kFloats = int64_t{64} << 20;
constexpr int64_t kGrain = 65536;

// Depends on every bit that is read, so that no compiler leaves the reading out.
uint32_t fold(const float* x, int64_t n) {
  constexpr int64_t kLanes = 64;
  static_assert(kGrain % kLanes == 0 && kFloats % kGrain == 0);
  uint32_t lanes[kLanes] = {};
  for (int64_t i = 0; i < n; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] ^= std::bit_cast<uint32_t>(x[i + k]);
  uint32_t all = 0;
  for (uint32_t lane : lanes) all ^= lane;
  return all;
}

}  // namespace

Streams::Streams(ThreadTeam& team) : team_(team), block_(kFloats * sizeof(float)) {}

void Streams::measure() {
  auto* x = reinterpret_cast<float*>(block_.data());
  in_place_.measure([&] {
    team_.run_ranges(kFloats, kGrain, [&](int64_t begin, int64_t end) {
      kernels::scale_into(x + begin, 1, x + begin, static_cast<size_t>(end - begin));
    });
  });
  std::atomic<uint32_t> seen = 0;
  read_.measure([&] {
    team_.run_ranges(kFloats, kGrain,
                     [&](int64_t begin, int64_t end) { seen ^= fold(x + begin, end - begin); });
  });
  if (seen != 0) throw Error("bench stream: zeros have changed");
}

double Streams::in_place_gbps() const { return 1e-9 * 8 * kFloats / in_place_.least(); }
double Streams::last_in_place_gbps() const { return 1e-9 * 8 * kFloats / in_place_.last(); }
double Streams::read_gbps() const { return 1e-9 * 4 * kFloats / read_.least(); }
double Streams::megabytes() const { return 4e-6 * kFloats; }

StreamBench bench_stream(int threads, double seconds) {
  ThreadTeam team(checked_threads("bench stream", threads));
  Streams streams(team);
  constexpr int kFewest = 5;
  const auto start = Clock::now();
  for (int i = 0; i < kFewest || seconds_since(start) < seconds; ++i) streams.measure();
  return {.threads = team.size(),
          .megabytes = streams.megabytes(),
          .in_place_gbps = streams.in_place_gbps(),
          .read_gbps = streams.read_gbps()};
}

std::string as_json(const StreamBench& r) {
  return fmt::format(
      R"({{"threads": {}, "megabytes": {:.1f}, "in_place_gbps": {:.2f}, "read_gbps": {:.2f}}})",
      r.threads, r.megabytes, r.in_place_gbps, r.read_gbps);
}

}  // namespace rein::app
