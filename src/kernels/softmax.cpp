#include "rein/kernels/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/softmax_rows.h"

namespace rein::kernels {
namespace {

constexpr int64_t kTile = 16384;  // elements of one task: tens of microseconds of exp

// Passes over a row: floats take vector code, which is no template and so preferred.
using ref::cross_entropy_row, ref::exp_row, ref::sigmoid_cross_entropy_row;
using simd::cross_entropy_row, simd::exp_row, simd::sigmoid_cross_entropy_row;

template <class T>
RowSum<T> sum_row(const T* x, int64_t n) {
  T* nowhere = nullptr;
  return exp_row(x, nowhere, n);
}

// Calls `row(r)` for each row.
template <class F>
void for_rows(ThreadTeam& team, int64_t rows, int64_t n, F row) {
  team.run_ranges(rows, std::max<int64_t>(1, kTile / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r);
  });
}

template <class Label>
bool outside(Label label, int64_t n) {
  return label < 0 || label >= n;
}

}  // namespace

template <class T>
void softmax(ThreadTeam& team, const T* x, T* y, int64_t rows, int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    T* to = y + r * n;
    const T factor = 1 / exp_row(x + r * n, to, n).sum;
    for (int64_t k = 0; k < n; ++k) to[k] *= factor;
  });
}

template <class T>
void log_softmax(ThreadTeam& team, const T* x, T* y, int64_t rows, int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    const T* from = x + r * n;
    T* to = y + r * n;
    const auto [max, sum] = sum_row(from, n);
    const T log_sum = std::log(sum);
    for (int64_t k = 0; k < n; ++k) to[k] = from[k] - max - log_sum;
  });
}

template <class T>
void cross_entropy(ThreadTeam& team, const T* labels, const T* logits, T* loss, int64_t rows,
                   int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    const auto [max, sum] = sum_row(logits + r * n, n);
    loss[r] = cross_entropy_row(labels + r * n, logits + r * n, max, std::log(sum), n);
  });
}

template <class T>
void cross_entropy_grad(ThreadTeam& team, const T* labels, const T* logits, const T* upstream,
                        T* grad, int64_t rows, int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    const T* z = labels + r * n;
    T* to = grad + r * n;
    const T factor = 1 / exp_row(logits + r * n, to, n).sum;
    for (int64_t k = 0; k < n; ++k) to[k] = upstream[r] * (to[k] * factor - z[k]);
  });
}

template <class T, class Label>
void sparse_cross_entropy(ThreadTeam& team, const T* logits, const Label* labels, T* loss,
                          int64_t rows, int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    if (outside(labels[r], n)) {
      loss[r] = std::numeric_limits<T>::quiet_NaN();
      return;
    }
    const T* x = logits + r * n;
    const auto [max, sum] = sum_row(x, n);
    loss[r] = std::log(sum) - (x[labels[r]] - max);
  });
}

template <class T, class Label>
void sparse_cross_entropy_grad(ThreadTeam& team, const T* logits, const Label* labels,
                               const T* upstream, T* grad, int64_t rows, int64_t n) noexcept {
  for_rows(team, rows, n, [&](int64_t r) {
    T* to = grad + r * n;
    if (outside(labels[r], n)) {
      std::fill_n(to, n, std::numeric_limits<T>::quiet_NaN());
      return;
    }
    const T factor = 1 / exp_row(logits + r * n, to, n).sum;
    const T hit = upstream[r] * (to[labels[r]] * factor - 1);
    for (int64_t k = 0; k < n; ++k) to[k] = upstream[r] * (to[k] * factor);
    to[labels[r]] = hit;
  });
}

template <class T>
void sigmoid_cross_entropy(ThreadTeam& team, const T* labels, const T* logits, T* y,
                           int64_t n) noexcept {
  team.run_ranges(n, kTile, [&](int64_t begin, int64_t end) {
    sigmoid_cross_entropy_row(labels + begin, logits + begin, y + begin, end - begin);
  });
}

template <class T>
void squared_error(ThreadTeam& team, const T* a, const T* b, T* y, int64_t n) noexcept {
  team.run_ranges(n, 4 * kTile, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = (a[i] - b[i]) * (a[i] - b[i]);
  });
}

template <class T>
void absolute_error(ThreadTeam& team, const T* a, const T* b, T* y, int64_t n) noexcept {
  team.run_ranges(n, 4 * kTile, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = std::abs(a[i] - b[i]);
  });
}

template void softmax(ThreadTeam&, const float*, float*, int64_t, int64_t) noexcept;
template void softmax(ThreadTeam&, const double*, double*, int64_t, int64_t) noexcept;
template void log_softmax(ThreadTeam&, const float*, float*, int64_t, int64_t) noexcept;
template void log_softmax(ThreadTeam&, const double*, double*, int64_t, int64_t) noexcept;
template void cross_entropy(ThreadTeam&, const float*, const float*, float*, int64_t,
                            int64_t) noexcept;
template void cross_entropy(ThreadTeam&, const double*, const double*, double*, int64_t,
                            int64_t) noexcept;
template void cross_entropy_grad(ThreadTeam&, const float*, const float*, const float*, float*,
                                 int64_t, int64_t) noexcept;
template void cross_entropy_grad(ThreadTeam&, const double*, const double*, const double*, double*,
                                 int64_t, int64_t) noexcept;
template void sparse_cross_entropy(ThreadTeam&, const float*, const int32_t*, float*, int64_t,
                                   int64_t) noexcept;
template void sparse_cross_entropy(ThreadTeam&, const float*, const int64_t*, float*, int64_t,
                                   int64_t) noexcept;
template void sparse_cross_entropy(ThreadTeam&, const double*, const int32_t*, double*, int64_t,
                                   int64_t) noexcept;
template void sparse_cross_entropy(ThreadTeam&, const double*, const int64_t*, double*, int64_t,
                                   int64_t) noexcept;
template void sparse_cross_entropy_grad(ThreadTeam&, const float*, const int32_t*, const float*,
                                        float*, int64_t, int64_t) noexcept;
template void sparse_cross_entropy_grad(ThreadTeam&, const float*, const int64_t*, const float*,
                                        float*, int64_t, int64_t) noexcept;
template void sparse_cross_entropy_grad(ThreadTeam&, const double*, const int32_t*, const double*,
                                        double*, int64_t, int64_t) noexcept;
template void sparse_cross_entropy_grad(ThreadTeam&, const double*, const int64_t*, const double*,
                                        double*, int64_t, int64_t) noexcept;
template void sigmoid_cross_entropy(ThreadTeam&, const float*, const float*, float*,
                                    int64_t) noexcept;
template void sigmoid_cross_entropy(ThreadTeam&, const double*, const double*, double*,
                                    int64_t) noexcept;
template void squared_error(ThreadTeam&, const float*, const float*, float*, int64_t) noexcept;
template void squared_error(ThreadTeam&, const double*, const double*, double*, int64_t) noexcept;
template void absolute_error(ThreadTeam&, const float*, const float*, float*, int64_t) noexcept;
template void absolute_error(ThreadTeam&, const double*, const double*, double*, int64_t) noexcept;

}  // namespace rein::kernels
