// One product on one thread: oneDNN for float, Eigen for double, loops of our own where a call
// would cost more than the product.
#define EIGEN_DONT_PARALLELIZE
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <Eigen/Core>
#include <algorithm>
#include <type_traits>

#include "kernels/gemm_small.h"

namespace rein::kernels {
namespace {

// Multiplications that loops of our own do in about the time that the library takes. A program
// without larger products is spared the library's first call, which takes 30 milliseconds.
constexpr int64_t kSmallFloats = 1 << 18, kTiny = 512;

// oneDNN asks OpenMP how many threads there are and trusts the answer: where OpenMP then delivers
// fewer (OMP_THREAD_LIMIT, OMP_DYNAMIC), a part of c is never written, and no error is returned.
// With one thread there is nothing to deliver. The setting belongs to the calling thread.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneOpenMpThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

// Returns whether it was done.
bool library_gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                  const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const OneOpenMpThread guard;
  return dnnl_sgemm(ta == Trans::yes ? 'T' : 'N', tb == Trans::yes ? 'T' : 'N', m, n, k, 1.0f, a,
                    lda, b, ldb, beta, c, ldc) == dnnl_success;
}

bool library_gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda,
                  const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  const bool at = ta == Trans::yes, bt = tb == Trans::yes;
  const Eigen::Map<const Matrix, 0, Stride> x(a, at ? k : m, at ? m : k, Stride(lda));
  const Eigen::Map<const Matrix, 0, Stride> y(b, bt ? n : k, bt ? k : n, Stride(ldb));
  Eigen::Map<Matrix, 0, Stride> z(c, m, n, Stride(ldc));
  if (beta == 0)
    z.setZero();
  else if (beta != 1)
    z *= beta;
  if (at && bt)
    z.noalias() += x.transpose() * y.transpose();
  else if (at)
    z.noalias() += x.transpose() * y;
  else if (bt)
    z.noalias() += x * y.transpose();
  else
    z.noalias() += x * y;
  return true;
}

}  // namespace

template <class T>
void gemm_tile(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
               const T* b, int64_t ldb, T beta, T* c, int64_t ldc) noexcept {
  const bool tiny = m * n * k <= kTiny;
  if constexpr (std::is_same_v<T, float>) {
    // Not matrix times vector, which the library does three times as fast.
    if (k > 0 && (tiny || (m * n * k <= kSmallFloats && std::min(m, n) >= 4)))
      return simd::small_gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
  }
  const bool small = tiny || k == 0;
  if (small || !library_gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc))
    ref::gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

template void gemm_tile(Trans, Trans, int64_t, int64_t, int64_t, const float*, int64_t,
                        const float*, int64_t, float, float*, int64_t) noexcept;
template void gemm_tile(Trans, Trans, int64_t, int64_t, int64_t, const double*, int64_t,
                        const double*, int64_t, double, double*, int64_t) noexcept;

}  // namespace rein::kernels
