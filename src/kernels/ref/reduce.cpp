#include "rein/kernels/reduce.h"

#include <algorithm>

namespace rein::kernels {

template <class T>
void sum_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T*, ThreadTeam&) noexcept {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += static_cast<double>(x[(o * n + k) * inner + i]);
      y[o * inner + i] = static_cast<T>(sum);
    }
}
template void sum_axis(const float*, float*, int64_t, int64_t, int64_t, float*,
                       ThreadTeam&) noexcept;
template void sum_axis(const double*, double*, int64_t, int64_t, int64_t, double*,
                       ThreadTeam&) noexcept;

int64_t sum_axis_scratch(int64_t, int64_t, int64_t) noexcept { return 0; }

template <class T>
void max_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, ThreadTeam&) noexcept {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      T best = x[o * n * inner + i];
      for (int64_t k = 1; k < n; ++k) {
        const T v = x[(o * n + k) * inner + i];
        best = v > best || v != v ? v : best;
      }
      y[o * inner + i] = best;
    }
}
template void max_axis(const float*, float*, int64_t, int64_t, int64_t, ThreadTeam&) noexcept;
template void max_axis(const double*, double*, int64_t, int64_t, int64_t, ThreadTeam&) noexcept;

}  // namespace rein::kernels
