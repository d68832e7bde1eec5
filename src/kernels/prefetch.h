// Reading ahead of loops that stream through memory.
#pragma once

#include <cstddef>

namespace rein::kernels {

/// Numbers ahead of the one in use.
inline constexpr size_t kPrefetchAhead = 1024;

/// Whether it pays to ask for memory early. Intel's processors begin anew at every page by
/// themselves, and gain up to a sixth; AMD's read ahead well, and lose a third
/// (docs/performance.md).
inline bool prefetch_pays() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_is("intel");
#else
  return false;
#endif
}

/// Asks for the line that will be read later, into the second-level cache. (Called as a function it
/// would go: g++ sees that it changes nothing.)
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* x) noexcept {
  __builtin_prefetch(x + kPrefetchAhead, 0, 2);
}

/// Numbers that go through several loops at once, of which each is in the cache for the next.
inline constexpr size_t kUpdateTile = 256;

/// Asks for a tile that will be read later, where that pays.
template <class T>
void prefetch_tile(const T* x) noexcept {
  if (!prefetch_pays()) return;
  for (size_t i = 0; i < kUpdateTile; i += 64 / sizeof(T)) prefetch(x + i);
}

}  // namespace rein::kernels
