#include "rein/kernels/broadcast.h"

namespace rein::kernels {

Broadcast::Broadcast(const Shape& result, std::initializer_list<const Shape*> operands) noexcept {
  struct Axis {
    int64_t size;
    std::array<bool, kMaxOperands> moves;
  };
  std::array<Axis, Shape::kMaxRank> axes{};
  int rank = 0;  // of the folded axes, innermost first
  for (int back = 1; back <= result.rank(); ++back) {
    const int64_t size = result[result.rank() - back];
    if (size == 1) continue;
    std::array<bool, kMaxOperands> moves{};
    size_t k = 0;
    for (const Shape* operand : operands)
      moves[k++] = back <= operand->rank() && (*operand)[operand->rank() - back] != 1;
    if (rank > 0 && axes[static_cast<size_t>(rank - 1)].moves == moves)
      axes[static_cast<size_t>(rank - 1)].size *= size;
    else
      axes[static_cast<size_t>(rank++)] = {size, moves};
  }
  Strides size{1, 1, 1};  // of each operand, over the axes seen so far
  for (int i = 0; i < rank; ++i) {
    const Axis& axis = axes[static_cast<size_t>(i)];
    Strides stride{};
    for (size_t k = 0; k < kMaxOperands; ++k) {
      stride[k] = axis.moves[k] ? size[k] : 0;
      if (axis.moves[k]) size[k] *= axis.size;
    }
    if (i == 0) {
      inner = axis.size;
      step = stride;
    } else {
      rows *= axis.size;
      outer[static_cast<size_t>(outer_rank)] = axis.size;
      outer_step[static_cast<size_t>(outer_rank++)] = stride;
    }
  }
}

}  // namespace rein::kernels
