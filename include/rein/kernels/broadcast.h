// How dense arrays of different shapes are walked together.
#pragma once

#include <array>
#include <initializer_list>

#include "rein/base/shape.h"

namespace rein::kernels {

/// A walk over the elements of a dense result in order, and over the operands that stretch to it,
/// with as few axes as possible: neighbours along which every operand moves (or every operand
/// stands) together are folded into one. The same shape or a scalar beside it is one axis; a bias
/// row or a column of factors is two.
struct Broadcast {
  static constexpr int kMaxOperands = 3;
  using Strides = std::array<int64_t, kMaxOperands>;

  int64_t inner = 1;      // elements of the innermost axis
  Strides step{1, 1, 1};  // of each operand along it: 1, or 0 if it stands
  int64_t rows = 1;       // the product of all other axes
  int outer_rank = 0;     // their number; axis 0 is the next one outwards
  std::array<int64_t, Shape::kMaxRank> outer{};
  std::array<Strides, Shape::kMaxRank> outer_step{};

  /// `operands`: at most three shapes that broadcast to `result` (aligned at the right, a size of 1
  /// or a missing one stretches).
  Broadcast(const Shape& result, std::initializer_list<const Shape*> operands) noexcept;
};

}  // namespace rein::kernels
