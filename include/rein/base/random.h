// Counter-based random numbers: every number is a pure function of (seed, stream, index), so draws
// do not depend on the order in which, or the threads on which, they are made.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace rein {

struct Seed {
  uint64_t value = 0;
};

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// An endless sequence of numbers named by a seed and a stream.
class RandomStream {
 public:
  RandomStream(Seed seed, uint64_t stream) : seed_(seed.value), stream_(stream) {}

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }

  /// 64 random bits.
  uint64_t bits(uint64_t index) const;
  /// In [0, 1), 53 bits.
  double uniform(uint64_t index) const;
  /// Standard normal (Box-Muller; one pair of uniforms an element).
  double normal(uint64_t index) const;
  /// In [0, n).
  uint64_t below(uint64_t index, uint64_t n) const;

 private:
  uint64_t seed_, stream_;
};

/// The stream of a thing that has a name (FNV-1a, 64 bits).
uint64_t stream_of(std::string_view name);

}  // namespace rein
