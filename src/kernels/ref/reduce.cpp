#include <algorithm>

#include "kernels/reduce_rows.h"

namespace rein::kernels {
namespace {

template <class T, class Join>
void join_rows(const T* x, int64_t rows, int64_t stride, int64_t n, T* y, Join join) {
  int64_t r = 1;
  std::copy_n(x, n, y);
  for (; r + 8 <= rows; r += 8) {
    const T* p = x + r * stride;
    for (int64_t j = 0; j < n; ++j) {
      const T a = join(join(p[j], p[stride + j]), join(p[2 * stride + j], p[3 * stride + j]));
      const T b = join(join(p[4 * stride + j], p[5 * stride + j]),
                       join(p[6 * stride + j], p[7 * stride + j]));
      y[j] = join(y[j], join(a, b));
    }
  }
  for (; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) y[j] = join(y[j], x[r * stride + j]);
}

struct Larger {
  template <class T>
  T operator()(T a, T b) const {
    const T m = b > a ? b : a;  // a NaN in `a` stays
    return b != b ? b : m;      // two selections: loops over one are not vectorised
  }
};

}  // namespace

void sum_rows(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept {
  join_rows(x, rows, stride, n, y, [](float a, float b) { return a + b; });
}
void sum_rows(const double* x, int64_t rows, int64_t stride, int64_t n, double* y) noexcept {
  join_rows(x, rows, stride, n, y, [](double a, double b) { return a + b; });
}
void max_rows(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept {
  join_rows(x, rows, stride, n, y, Larger{});
}
void max_rows(const double* x, int64_t rows, int64_t stride, int64_t n, double* y) noexcept {
  join_rows(x, rows, stride, n, y, Larger{});
}

}  // namespace rein::kernels
