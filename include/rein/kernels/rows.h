// Rows picked by index.
#pragma once

#include <cstdint>

#include "rein/base/thread_team.h"

namespace rein::kernels {

/// to[k] = from[indices[k]], rows of `width` elements out of `rows`; a row of NaN (integers: zeros)
/// for an index outside. Any of the four types.
template <class T>
void gather_rows(const T* from, int64_t rows, const int64_t* indices, int64_t n, int64_t width,
                 T* to, ThreadTeam& team) noexcept;

/// Zeros `to` [rows, width] and adds from[k] to row indices[k], in the order of k; an index outside
/// is passed over. float or double.
template <class T>
void scatter_add_rows(const T* from, const int64_t* indices, int64_t n, int64_t width, T* to,
                      int64_t rows, ThreadTeam& team) noexcept;

/// to[k, indices[k]] = 1 and the rest of [n, depth] 0; an index outside gives a row of zeros. Any
/// of the four types.
template <class T>
void one_hot(const int64_t* indices, int64_t n, int64_t depth, T* to, ThreadTeam& team) noexcept;

}  // namespace rein::kernels
