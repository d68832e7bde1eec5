#include "rein/kernels/elementwise.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/elementwise_rows.h"

namespace rein::kernels {
namespace {

constexpr int64_t kTile = 32768;  // elements of one task: 128 KB of floats an array, microseconds

// Cuts the walk into tiles and calls `compute` for each rectangle of rows in them.
template <class T, class F>
void for_rows(ThreadTeam& team, const Broadcast& walk,
              std::array<const T*, Broadcast::kMaxOperands> x, T* y, F compute) {
  if (walk.inner == 0 || walk.rows == 0) return;

  // Moves the rows on to row number `first`; returns how many follow along the first outer axis.
  auto seek = [&](int64_t first, Rows<T>& rows) {
    int64_t left = first;
    for (int axis = 0; axis < walk.outer_rank; ++axis) {
      const auto i = static_cast<size_t>(axis);
      const int64_t at = left % walk.outer[i];
      left /= walk.outer[i];
      for (size_t k = 0; k < x.size(); ++k)
        if (x[k]) rows.x[k] += at * walk.outer_step[i][k];
    }
    return walk.outer_rank == 0 ? 1 : walk.outer[0] - first % walk.outer[0];
  };
  const Rows<T> all{.x = x,
                    .row = walk.outer_rank == 0 ? Broadcast::Strides{} : walk.outer_step[0],
                    .step = walk.step,
                    .y = y,
                    .rows = 0,
                    .n = walk.inner};

  if (walk.inner > kTile) {  // pieces of rows
    const int64_t pieces = (walk.inner + kTile - 1) / kTile;
    team.run(walk.rows * pieces, [&](int64_t task) {
      const int64_t row = task / pieces, begin = task % pieces * kTile;
      Rows<T> rows = all;
      seek(row, rows);
      for (size_t k = 0; k < x.size(); ++k)
        if (x[k]) rows.x[k] += begin * walk.step[k];
      rows.y += row * walk.inner + begin;
      rows.rows = 1;
      rows.n = std::min(kTile, walk.inner - begin);
      compute(rows);
    });
  } else {  // whole rows
    team.run_ranges(walk.rows, kTile / walk.inner, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        Rows<T> rows = all;
        rows.rows = std::min(seek(begin, rows), end - begin);
        rows.y += begin * walk.inner;
        compute(rows);
        begin += rows.rows;
      }
    });
  }
}

}  // namespace

template <class T>
void unary(ThreadTeam& team, Unary f, const T* x, T* y, int64_t n) noexcept {
  team.run_ranges(n, kTile, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>)
      simd::unary(f, x + begin, y + begin, end - begin);
    else
      ref::unary(f, x + begin, y + begin, end - begin);
  });
}

template <class T>
void binary(ThreadTeam& team, Binary f, const Broadcast& walk, const T* a, const T* b,
            T* y) noexcept {
  for_rows<T>(team, walk, {a, b, nullptr}, y, [&](const Rows<T>& rows) {
    if constexpr (std::is_same_v<T, float>)
      simd::binary(f, rows);
    else
      ref::binary(f, rows);
  });
}

template <class T>
void ternary(ThreadTeam& team, Ternary f, const Broadcast& walk, const T* a, const T* b, const T* c,
             T* y) noexcept {
  for_rows<T>(team, walk, {a, b, c}, y, [&](const Rows<T>& rows) {
    if constexpr (std::is_same_v<T, float>)
      simd::ternary(f, rows);
    else
      ref::ternary(f, rows);
  });
}

namespace {
template <class To, class From>
To convert(From x) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // 2^31 or 2^63, which both floating types hold exactly.
    constexpr From kEnd = -static_cast<From>(std::numeric_limits<To>::min());
    if (x != x) return 0;
    if (x >= kEnd) return std::numeric_limits<To>::max();
    if (x < -kEnd) return std::numeric_limits<To>::min();
  }
  return static_cast<To>(x);
}
}  // namespace

template <class From, class To>
void cast(ThreadTeam& team, const From* x, To* y, int64_t n) noexcept {
  team.run_ranges(n, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = convert<To>(x[i]);
  });
}

template <class T>
void dropout(ThreadTeam& team, double rate, const RandomStream& random, const T* x, T* y, T* mask,
             int64_t n) noexcept {
  const T scale = static_cast<T>(1 / (1 - rate));
  team.run_ranges(n, kTile, [&](int64_t begin, int64_t end) {
    constexpr int64_t kBlock = 512;
    uint32_t kept[kBlock];
    for (; begin < end; begin += kBlock) {
      const int64_t count = std::min(kBlock, end - begin);
      simd::uniform_at_least(random, rate, begin, kept, count);
      for (int64_t i = 0; i < count; ++i) {
        mask[begin + i] = kept[i] ? scale : 0;
        y[begin + i] = kept[i] ? x[begin + i] * scale : 0;
      }
    }
  });
}

template void unary(ThreadTeam&, Unary, const float*, float*, int64_t) noexcept;
template void unary(ThreadTeam&, Unary, const double*, double*, int64_t) noexcept;
template void binary(ThreadTeam&, Binary, const Broadcast&, const float*, const float*,
                     float*) noexcept;
template void binary(ThreadTeam&, Binary, const Broadcast&, const double*, const double*,
                     double*) noexcept;
template void ternary(ThreadTeam&, Ternary, const Broadcast&, const float*, const float*,
                      const float*, float*) noexcept;
template void ternary(ThreadTeam&, Ternary, const Broadcast&, const double*, const double*,
                      const double*, double*) noexcept;
template void dropout(ThreadTeam&, double, const RandomStream&, const float*, float*, float*,
                      int64_t) noexcept;
template void dropout(ThreadTeam&, double, const RandomStream&, const double*, double*, double*,
                      int64_t) noexcept;
template void cast(ThreadTeam&, const float*, float*, int64_t) noexcept;
template void cast(ThreadTeam&, const float*, double*, int64_t) noexcept;
template void cast(ThreadTeam&, const float*, int32_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const float*, int64_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const double*, float*, int64_t) noexcept;
template void cast(ThreadTeam&, const double*, double*, int64_t) noexcept;
template void cast(ThreadTeam&, const double*, int32_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const double*, int64_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const int32_t*, float*, int64_t) noexcept;
template void cast(ThreadTeam&, const int32_t*, double*, int64_t) noexcept;
template void cast(ThreadTeam&, const int32_t*, int32_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const int32_t*, int64_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const int64_t*, float*, int64_t) noexcept;
template void cast(ThreadTeam&, const int64_t*, double*, int64_t) noexcept;
template void cast(ThreadTeam&, const int64_t*, int32_t*, int64_t) noexcept;
template void cast(ThreadTeam&, const int64_t*, int64_t*, int64_t) noexcept;

}  // namespace rein::kernels
