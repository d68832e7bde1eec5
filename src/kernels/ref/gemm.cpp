#include "rein/kernels/gemm.h"

namespace rein::kernels::ref {

template <class T>
void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc) noexcept {
  const int64_t a_row = ta == Trans::yes ? 1 : lda, a_column = ta == Trans::yes ? lda : 1;
  const int64_t b_row = tb == Trans::yes ? 1 : ldb, b_column = tb == Trans::yes ? ldb : 1;
  for (int64_t i = 0; i < m; ++i) {
    T* row = c + i * ldc;
    for (int64_t j = 0; j < n; ++j) row[j] = beta == 0 ? T{0} : beta * row[j];
    for (int64_t q = 0; q < k; ++q) {
      const T x = a[i * a_row + q * a_column];
      const T* y = b + q * b_row;
      if (b_column == 1)  // the compiler makes vectors of it
        for (int64_t j = 0; j < n; ++j) row[j] += x * y[j];
      else
        for (int64_t j = 0; j < n; ++j) row[j] += x * y[j * b_column];
    }
  }
}

template <class T>
void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_stride, T* to,
               int64_t to_stride) noexcept {
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) to[j * to_stride + i] = from[i * from_stride + j];
}

template void gemm(Trans, Trans, int64_t, int64_t, int64_t, const float*, int64_t, const float*,
                   int64_t, float, float*, int64_t) noexcept;
template void gemm(Trans, Trans, int64_t, int64_t, int64_t, const double*, int64_t, const double*,
                   int64_t, double, double*, int64_t) noexcept;
template void transpose(int64_t, int64_t, const float*, int64_t, float*, int64_t) noexcept;
template void transpose(int64_t, int64_t, const double*, int64_t, double*, int64_t) noexcept;

}  // namespace rein::kernels::ref
