// Moving numbers without changing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rein/base/shape.h"
#include "rein/base/thread_team.h"

namespace rein::kernels {

/// One axis of a strided copy: `size` steps, each so many elements on in the source and in the
/// destination.
struct CopyAxis {
  int64_t size = 1, from = 0, to = 0;
};

/// to[sum of i_k * to_k] = from[sum of i_k * from_k] for all indices i, 0 <= i_k < size_k, of at
/// most Shape::kMaxRank axes. Concatenation, slices, transposition and broadcasting (a step of 0 in
/// the source) are strided copies. `element` is the size of one element in bytes, 4 or 8; no two
/// indices may name the same place of the destination. Fastest when the last axis has steps of 1.
void strided_copy(std::span<const CopyAxis> axes, const void* from, void* to, size_t element,
                  ThreadTeam& team) noexcept;

/// Zeros at the places of the destination that `axes` name; their `from` is not looked at.
void strided_zero(std::span<const CopyAxis> axes, void* to, size_t element,
                  ThreadTeam& team) noexcept;

}  // namespace rein::kernels
