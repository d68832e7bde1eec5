// Small float products in vector code.
#pragma once

#include "rein/kernels/gemm.h"

namespace rein::kernels::simd {

/// As `gemm_tile`, k > 0. Sums in rising order of k.
void small_gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                const float* b, int64_t ldb, float beta, float* c, int64_t ldc) noexcept;

}  // namespace rein::kernels::simd
