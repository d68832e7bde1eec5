// How ops that only move numbers call the copy kernel.
#pragma once

#include "rein/compute/op.h"
#include "rein/kernels/copy.h"

namespace rein {

/// How many elements one step along `axis` of a row-major array is.
inline int64_t stride_of(const Shape& shape, int axis) {
  return shape.size(axis + 1, shape.rank());
}

/// The axes of one copy from an argument to a result.
class CopyAxes {
 public:
  void push(const kernels::CopyAxis& axis) { axes_[static_cast<size_t>(count_++)] = axis; }
  std::span<const kernels::CopyAxis> all() const {
    return {axes_.data(), static_cast<size_t>(count_)};
  }
  void run(const In& from, const Out& to, ThreadTeam& team, int64_t from_offset = 0,
           int64_t to_offset = 0) const {
    const size_t element = size_of(to.dtype());
    kernels::strided_copy(
        all(),
        static_cast<const std::byte*>(from.data) + static_cast<size_t>(from_offset) * element,
        static_cast<std::byte*>(to.data) + static_cast<size_t>(to_offset) * element, element, team);
  }
  void zero(const Out& to, ThreadTeam& team, int64_t to_offset = 0) const {
    const size_t element = size_of(to.dtype());
    kernels::strided_zero(
        all(), static_cast<std::byte*>(to.data) + static_cast<size_t>(to_offset) * element, element,
        team);
  }

 private:
  std::array<kernels::CopyAxis, Shape::kMaxRank> axes_{};
  int count_ = 0;
};

}  // namespace rein
