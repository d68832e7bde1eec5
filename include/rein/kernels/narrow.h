// Matrix products, and an LSTM, of narrow inputs: the twins of gemm.h and lstm.h for
// `ProductOptions` that are `narrow()`. Each sum is taken in an order of its own that depends on
// the unit alone: not on the number of threads, nor on whether the products are emulated.
// `products` must be `narrow()`, and `why_not(products)` empty: else the unit ends the process.
#pragma once

#include "rein/kernels/gemm.h"
#include "rein/kernels/lstm.h"
#include "rein/kernels/precision.h"

namespace rein::kernels::narrow {

/// c [m, n] = op(a) [m, k] op(b) [k, n], what c held is lost; otherwise as kernels::gemm. `scratch`
/// holds `gemm_scratch_bytes` bytes, aligned to a cache line.
void gemm(ThreadTeam& team, const ProductOptions& products, Trans ta, Trans tb, int64_t m,
          int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
          int64_t ldc, std::byte* scratch) noexcept;
size_t gemm_scratch_bytes(const ProductOptions& products, int64_t m, int64_t n, int64_t k);

/// As kernels::lstm_forward and lstm_backward. Narrow are x, h, the weights and dz wherever they
/// are multiplied; gates, cells and sums, that of dz for the bias among them, are not. `gates` and
/// `cells` have an order of their own, and `dz` is kept as it is multiplied. At least one step, and
/// one input or unit.
LstmMemory lstm_memory(const ProductOptions& products, const LstmSizes& sizes);
void lstm_forward(ThreadTeam& team, const ProductOptions& products, const LstmSizes& sizes,
                  const LstmForward<float>& p, std::byte* scratch) noexcept;
void lstm_backward(ThreadTeam& team, const ProductOptions& products, const LstmSizes& sizes,
                   const LstmBackward<float>& p, std::byte* scratch) noexcept;
/// `rows` [T, B, 4H], row-major: dz, of LstmMemory::gates numbers, as it was multiplied.
void lstm_rows(const ProductOptions& products, const LstmSizes& sizes, const float* dz,
               float* rows) noexcept;
/// What a number of `gates` stands for. Of the `rows` of dz kernels::lstm_place<double> says it.
LstmPlace lstm_place(const LstmSizes& sizes, int64_t index) noexcept;

}  // namespace rein::kernels::narrow
