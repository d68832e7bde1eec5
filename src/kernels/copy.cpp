#include "rein/kernels/copy.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rein::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements a task moves at least
constexpr int64_t kTile = 16;      // of a transposition: a cache line of float32

struct Axes {
  std::array<CopyAxis, Shape::kMaxRank> axis{};
  int count = 0;

  CopyAxis& back() { return axis[static_cast<size_t>(count - 1)]; }
  void push(const CopyAxis& a) { axis[static_cast<size_t>(count++)] = a; }
  std::span<const CopyAxis> all() const { return {axis.data(), static_cast<size_t>(count)}; }
};

// Without axes of size 1, and with neighbours merged that step through memory as one.
Axes fold(std::span<const CopyAxis> axes) {
  Axes folded;
  for (const CopyAxis& a : axes) {
    if (a.size == 1) continue;
    if (folded.count > 0) {
      CopyAxis& b = folded.back();
      if (b.from == a.from * a.size && b.to == a.to * a.size) {
        b = {b.size * a.size, a.from, a.to};
        continue;
      }
    }
    folded.push(a);
  }
  if (folded.count == 0) folded.push({1, 1, 1});
  return folded;
}

// Goes through the indices of some axes in row-major order.
class Walk {
 public:
  Walk(const Axes& axes, int64_t start) : axes_(axes) {
    for (size_t k = static_cast<size_t>(axes.count); k-- > 0;) {
      const CopyAxis& a = axes_.axis[k];
      index_[k] = start % a.size;
      start /= a.size;
      from += index_[k] * a.from;
      to += index_[k] * a.to;
    }
  }
  void next() {
    for (size_t k = static_cast<size_t>(axes_.count); k-- > 0;) {
      const CopyAxis& a = axes_.axis[k];
      from += a.from;
      to += a.to;
      if (++index_[k] < a.size) return;
      from -= a.size * a.from;
      to -= a.size * a.to;
      index_[k] = 0;
    }
  }
  int64_t from = 0, to = 0;

 private:
  const Axes& axes_;
  std::array<int64_t, Shape::kMaxRank> index_{};
};

template <size_t kElement>
void move_one(const std::byte* from, std::byte* to) {
  std::memcpy(to, from, kElement);
}

// One axis: a run of neighbours, one element again and again, or whatever the steps say.
template <size_t kElement>
void copy_line(const CopyAxis& a, int64_t n, const std::byte* from, std::byte* to) {
  constexpr auto kSize = static_cast<int64_t>(kElement);
  if (a.from == 1 && a.to == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * kElement);
  } else if (a.from == 0 && a.to == 1) {
    for (int64_t i = 0; i < n; ++i) move_one<kElement>(from, to + i * kSize);
  } else {
    for (int64_t i = 0; i < n; ++i)
      move_one<kElement>(from + i * a.from * kSize, to + i * a.to * kSize);
  }
}

// Two axes of which the source has neighbours along `a` and the destination along `b`: in squares,
// through a buffer, so that each line of either memory is touched once (steps of a power of two
// would throw lines out of the cache that are still needed).
template <size_t kElement>
void copy_square(const CopyAxis& a, int64_t rows, const CopyAxis& b, const std::byte* from,
                 std::byte* to) {
  constexpr auto kSize = static_cast<int64_t>(kElement);
  std::byte square[kTile * kTile * kElement];
  for (int64_t j0 = 0; j0 < b.size; j0 += kTile) {
    const int64_t n = std::min(kTile, b.size - j0);
    for (int64_t j = 0; j < n; ++j)
      std::memcpy(square + j * kTile * kSize, from + (j0 + j) * b.from * kSize,
                  static_cast<size_t>(rows * kSize));
    for (int64_t i = 0; i < rows; ++i) {
      std::byte* line = to + (i * a.to + j0) * kSize;
      for (int64_t j = 0; j < n; ++j)
        move_one<kElement>(square + (j * kTile + i) * kSize, line + j * kSize);
    }
  }
}

template <size_t kElement>
void copy_all(std::span<const CopyAxis> given, const std::byte* from, std::byte* to,
              ThreadTeam& team) {
  constexpr auto kSize = static_cast<int64_t>(kElement);
  Axes outer = fold(given);
  const CopyAxis last = outer.back();
  --outer.count;
  // When the last axis jumps in the source, another one may step through neighbours there.
  CopyAxis rows;
  const bool square = last.from > 1 && last.to == 1 && [&] {
    for (size_t k = 0; k < static_cast<size_t>(outer.count); ++k) {
      if (outer.axis[k].from != 1) continue;
      rows = outer.axis[k];
      std::copy(outer.axis.begin() + static_cast<ptrdiff_t>(k) + 1,
                outer.axis.begin() + outer.count, outer.axis.begin() + static_cast<ptrdiff_t>(k));
      --outer.count;
      return true;
    }
    return false;
  }();
  const CopyAxis& cut = square ? rows : last;  // in strips
  const int64_t strip = square ? kTile : kGrain;
  const int64_t strips = (cut.size + strip - 1) / strip;
  const int64_t unit = std::min(cut.size, strip) * (square ? last.size : 1);
  int64_t units = strips;
  for (const CopyAxis& a : outer.all()) units *= a.size;
  team.run_ranges(units, std::max<int64_t>(1, kGrain / unit), [&](int64_t begin, int64_t end) {
    Walk walk(outer, begin / strips);
    int64_t s = begin % strips;
    for (int64_t u = begin; u < end; ++u) {
      const int64_t first = s * strip, n = std::min(strip, cut.size - first);
      const std::byte* f = from + (walk.from + first * cut.from) * kSize;
      std::byte* t = to + (walk.to + first * cut.to) * kSize;
      if (square)
        copy_square<kElement>(rows, n, last, f, t);
      else
        copy_line<kElement>(last, n, f, t);
      if (++s == strips) s = 0, walk.next();
    }
  });
}

}  // namespace

void strided_copy(std::span<const CopyAxis> axes, const void* from, void* to, size_t element,
                  ThreadTeam& team) noexcept {
  if (std::ranges::any_of(axes, [](const CopyAxis& a) { return a.size == 0; })) return;
  const auto* f = static_cast<const std::byte*>(from);
  auto* t = static_cast<std::byte*>(to);
  element == 8 ? copy_all<8>(axes, f, t, team) : copy_all<4>(axes, f, t, team);
}

void strided_zero(std::span<const CopyAxis> axes, void* to, size_t element,
                  ThreadTeam& team) noexcept {
  Axes copy;
  for (const CopyAxis& a : axes) copy.push({a.size, 0, a.to});
  const int64_t zero = 0;
  strided_copy(copy.all(), &zero, to, element, team);
}

}  // namespace rein::kernels
