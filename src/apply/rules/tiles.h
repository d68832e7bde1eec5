// Work on a whole variable, shared among a team.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/prefetch.h"
#include "rein/base/thread_team.h"
#include "rein/kernels/update.h"
#include "rein/tensor/variables.h"

namespace rein {

inline constexpr size_t kTileSize = 16384;
inline size_t tile_count(size_t n) { return (n + kTileSize - 1) / kTileSize; }

/// Calls f(begin, end) for pieces of [0, n), `grain` long.
template <class F>
void for_ranges(ThreadTeam* team, size_t n, size_t grain, F&& f) {
  const auto piece = [&](int64_t i) {
    const size_t begin = static_cast<size_t>(i) * grain;
    f(begin, std::min(n, begin + grain));
  };
  const auto pieces = static_cast<int64_t>((n + grain - 1) / grain);
  if (team) {
    team->run(pieces, piece);
    return;
  }
  for (int64_t i = 0; i < pieces; ++i) piece(i);
}

/// The same in tiles.
template <class F>
void for_tiles(ThreadTeam* team, size_t n, F&& f) {
  for_ranges(team, n, kTileSize, f);
}

/// Calls f(begin, end) for small tiles of [begin, end), and asks for what comes later of the arrays
/// that f reads.
template <class T, class F>
void for_blocks(size_t begin, size_t end, std::initializer_list<const T*> arrays, F&& f) {
  for (size_t at = begin; at < end; at += kernels::kUpdateTile) {
    for (const T* array : arrays) kernels::prefetch_tile(array + at);
    f(at, std::min(end, at + kernels::kUpdateTile));
  }
}

/// Room for `sum_tiles` over any one of the variables.
template <size_t N>
std::vector<double> parts_for(const Variables& variables) {
  size_t largest = 0;
  for (const auto& entry : variables.layout().entries) largest = std::max(largest, entry.size);
  return std::vector<double>(N * tile_count(largest));
}

/// Adds up what f(begin, end) gives for each tile, in the order of the tiles.
template <size_t N, class F>
std::array<double, N> sum_tiles(ThreadTeam* team, size_t n, std::vector<double>& parts, F&& f) {
  for_tiles(team, n, [&](size_t begin, size_t end) {
    const std::array<double, N> sums = f(begin, end);
    std::ranges::copy(sums, parts.begin() + static_cast<std::ptrdiff_t>(begin / kTileSize * N));
  });
  std::array<double, N> all{};
  for (size_t i = 0; i < tile_count(n); ++i)
    for (size_t k = 0; k < N; ++k) all[k] += parts[i * N + k];
  return all;
}

/// Where the deltas of a variable go, tile by tile: they are added to `parameters`, or take the
/// place of the gradients if there are none.
template <class T>
struct DeltaSink {
  T* gradients;
  T* parameters;

  /// `make(out)` writes the deltas of [from, to), no more than `kUpdateTile`.
  template <class F>
  void put(size_t from, size_t to, F&& make) const {
    if (!parameters) {
      make(gradients + from);
      return;
    }
    alignas(64) T tile[kernels::kUpdateTile];
    make(&tile[0]);
    kernels::add_into(parameters + from, tile, to - from);
  }
};

template <class T>
double square(T x) {
  return static_cast<double>(x) * static_cast<double>(x);
}

}  // namespace rein
