#include "rein/kernels/rows.h"

#include <algorithm>
#include <limits>

namespace rein::kernels {
namespace {

int64_t grain_of(int64_t width) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width));
}

bool inside(int64_t index, int64_t size) { return index >= 0 && index < size; }

}  // namespace

template <class T>
void gather_rows(const T* from, int64_t rows, const int64_t* indices, int64_t n, int64_t width,
                 T* to, ThreadTeam& team) noexcept {
  team.run_ranges(n, grain_of(width), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t row = indices[k];
      if (inside(row, rows))
        std::copy_n(from + row * width, width, to + k * width);
      else
        std::fill_n(to + k * width, width, std::numeric_limits<T>::quiet_NaN());
    }
  });
}

template <class T>
void scatter_add_rows(const T* from, const int64_t* indices, int64_t n, int64_t width, T* to,
                      int64_t rows, ThreadTeam& team) noexcept {
  team.run_ranges(rows, grain_of(width), [&](int64_t begin, int64_t end) {
    std::fill(to + begin * width, to + end * width, T{0});
  });
  for (int64_t k = 0; k < n; ++k) {
    const int64_t row = indices[k];
    if (!inside(row, rows)) continue;
    for (int64_t i = 0; i < width; ++i) to[row * width + i] += from[k * width + i];
  }
}

template <class T>
void one_hot(const int64_t* indices, int64_t n, int64_t depth, T* to, ThreadTeam& team) noexcept {
  team.run_ranges(n, grain_of(depth), [&](int64_t begin, int64_t end) {
    std::fill(to + begin * depth, to + end * depth, T{0});
    for (int64_t k = begin; k < end; ++k)
      if (const int64_t i = indices[k]; inside(i, depth)) to[k * depth + i] = 1;
  });
}

template void gather_rows(const float*, int64_t, const int64_t*, int64_t, int64_t, float*,
                          ThreadTeam&) noexcept;
template void gather_rows(const double*, int64_t, const int64_t*, int64_t, int64_t, double*,
                          ThreadTeam&) noexcept;
template void gather_rows(const int32_t*, int64_t, const int64_t*, int64_t, int64_t, int32_t*,
                          ThreadTeam&) noexcept;
template void gather_rows(const int64_t*, int64_t, const int64_t*, int64_t, int64_t, int64_t*,
                          ThreadTeam&) noexcept;
template void scatter_add_rows(const float*, const int64_t*, int64_t, int64_t, float*, int64_t,
                               ThreadTeam&) noexcept;
template void scatter_add_rows(const double*, const int64_t*, int64_t, int64_t, double*, int64_t,
                               ThreadTeam&) noexcept;
template void one_hot(const int64_t*, int64_t, int64_t, float*, ThreadTeam&) noexcept;
template void one_hot(const int64_t*, int64_t, int64_t, double*, ThreadTeam&) noexcept;
template void one_hot(const int64_t*, int64_t, int64_t, int32_t*, ThreadTeam&) noexcept;
template void one_hot(const int64_t*, int64_t, int64_t, int64_t*, ThreadTeam&) noexcept;
}  // namespace rein::kernels
