#include "rein/kernels/gemm.h"

#include <algorithm>
#include <vector>

namespace rein::kernels {
namespace {

// The pieces that a product is cut into, along the longer side of c. They depend on the sizes
// alone.
struct Cut {
  bool rows = true;   // pieces of the rows of c, or of its columns
  int64_t grain = 1;  // rows or columns a piece
};

// At most eight pieces, each worth handing to a thread (tens of microseconds). Narrow strips of
// columns are slower than wide ones, short strips of rows are not.
Cut cut(int64_t m, int64_t n, int64_t k) {
  constexpr double kWorthSharing = 4e6;  // multiplications
  constexpr double kMostPieces = 8;
  constexpr int64_t kRows = 16, kColumns = 128;
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const auto pieces = static_cast<int64_t>(std::clamp(work / kWorthSharing, 1.0, kMostPieces));
  const bool rows = m >= n;
  const int64_t side = rows ? m : n, unit = rows ? kRows : kColumns;
  return {rows, (side + pieces * unit - 1) / (pieces * unit) * unit};
}

// Products with a transposed b are up to five times slower than others, worst with few rows: a copy
// of b pays. Not with very few of them, and not where the copy leaves the caches: it then takes
// longer (20 ms for 650 x 10,000) than all that the library loses by packing b once a piece (6 ms).
bool copies_b(Trans tb, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kInCache = int64_t{1} << 18;  // numbers
  return tb == Trans::yes && m >= 16 && n * k <= kInCache;
}

}  // namespace

template <class T>
void gemm(ThreadTeam& team, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
          std::byte* scratch) noexcept {
  if (m == 0 || n == 0) return;
  constexpr int64_t kTransposedRows = 256;
  if (copies_b(tb, m, n, k)) {
    T* untransposed = reinterpret_cast<T*>(scratch);
    team.run_ranges(n, kTransposedRows, [&](int64_t from, int64_t to) {
      transpose(to - from, k, b + from * ldb, ldb, untransposed + from, n);
    });
    b = untransposed;
    ldb = n;
    tb = Trans::no;
  }
  const Cut pieces = cut(m, n, k);
  if (pieces.rows) {
    const int64_t a_step = ta == Trans::yes ? 1 : lda;
    team.run_ranges(m, pieces.grain, [&](int64_t from, int64_t to) {
      gemm_tile(ta, tb, to - from, n, k, a + from * a_step, lda, b, ldb, beta, c + from * ldc, ldc);
    });
  } else {
    const int64_t b_step = tb == Trans::yes ? ldb : 1;
    team.run_ranges(n, pieces.grain, [&](int64_t from, int64_t to) {
      gemm_tile(ta, tb, m, to - from, k, a, lda, b + from * b_step, ldb, beta, c + from, ldc);
    });
  }
}

template <class T>
size_t gemm_scratch_bytes(Trans tb, int64_t m, int64_t n, int64_t k) {
  return copies_b(tb, m, n, k) ? static_cast<size_t>(n * k) * sizeof(T) : 0;
}

bool gemm_self_test(ThreadTeam& team) {
  constexpr int64_t m = 128, n = 512, k = 128;  // OpenMP would have shared it
  std::vector<float> a(m * k), b(k * n), c(m * n, -1), want(m * n);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 7) - 3;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) - 2;
  gemm<float>(team, Trans::no, Trans::no, m, n, k, a.data(), k, b.data(), n, 0, c.data(), n,
              nullptr);
  ref::gemm<float>(Trans::no, Trans::no, m, n, k, a.data(), k, b.data(), n, 0, want.data(), n);
  return c == want;  // sums of small integers are exact
}

template void gemm(ThreadTeam&, Trans, Trans, int64_t, int64_t, int64_t, const float*, int64_t,
                   const float*, int64_t, float, float*, int64_t, std::byte*) noexcept;
template void gemm(ThreadTeam&, Trans, Trans, int64_t, int64_t, int64_t, const double*, int64_t,
                   const double*, int64_t, double, double*, int64_t, std::byte*) noexcept;
template size_t gemm_scratch_bytes<float>(Trans, int64_t, int64_t, int64_t);
template size_t gemm_scratch_bytes<double>(Trans, int64_t, int64_t, int64_t);

}  // namespace rein::kernels
