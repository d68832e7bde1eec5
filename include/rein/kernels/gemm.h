// Matrix products. Row-major; the bits of a result do not depend on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rein/base/thread_team.h"

namespace rein::kernels {

/// Whether a factor is stored transposed.
enum class Trans : bool { no, yes };

/// c [m, n] = op(a) [m, k] op(b) [k, n] + beta c, where op(x) is x or its transpose. `lda`, `ldb`,
/// `ldc` are the lengths of the stored rows. With beta = 0, c is written without being read.
///
/// `scratch` holds `gemm_scratch_bytes` bytes, aligned to a cache line; it may be null if that is
/// 0.
template <class T>
void gemm(ThreadTeam& team, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
          std::byte* scratch) noexcept;

/// What `gemm` needs for the untransposed copy of b that it makes when b is stored transposed.
template <class T>
size_t gemm_scratch_bytes(Trans tb, int64_t m, int64_t n, int64_t k);

/// The same product as one call on the caller's thread, without scratch: for callers that cut their
/// own tiles. Slow for a transposed b and few rows: `transpose` it first.
template <class T>
void gemm_tile(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
               const T* b, int64_t ldb, T beta, T* c, int64_t ldc) noexcept;

/// to [columns, rows] = transpose of from [rows, columns]; the strides are the lengths of the
/// stored rows.
template <class T>
void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_stride, T* to,
               int64_t to_stride) noexcept;

/// Whether products come out right in this process: the library behind them has been seen to return
/// half-written results where OpenMP was told to use fewer threads than it announces. Cheap; for
/// programs that want to be sure before they begin.
bool gemm_self_test(ThreadTeam& team);

namespace ref {
/// The plain twins; sums in rising order of k.
template <class T>
void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc) noexcept;
template <class T>
void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_stride, T* to,
               int64_t to_stride) noexcept;
}  // namespace ref

}  // namespace rein::kernels
