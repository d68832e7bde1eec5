// Sums and maxima along one axis, for float and double.
#pragma once

#include <cstdint>

#include "rein/base/thread_team.h"

namespace rein::kernels {

/// y[o, i] = sum over k of x[o, k, i], for x [outer, n, inner] and y [outer, inner]. The order of
/// additions is fixed by the sizes alone, and such that few roundings meet in one number.
template <class T>
void sum_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T* scratch,
              ThreadTeam& team) noexcept;

/// y[o, i] = max over k of x[o, k, i]; NaN if any is. n > 0.
template <class T>
void max_axis(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, T* scratch,
              ThreadTeam& team) noexcept;

/// How many elements of scratch memory they need.
int64_t reduce_axis_scratch(int64_t outer, int64_t n, int64_t inner) noexcept;

}  // namespace rein::kernels
