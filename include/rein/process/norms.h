// Norms of all gradients of a step.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "rein/process/shards.h"
#include "rein/process/step_info.h"
#include "rein/tensor/variables.h"

namespace rein {

/// The norm of each gradient, L2 or of another order, taken in double by blocks that depend on
/// shapes alone and are put together in their order: the same bits for any number of threads,
/// neither overflow nor underflow. A transform keeps one as its state, so that no step but the
/// first allocates.
struct Norms {
  struct Block {
    size_t variable, begin, size;  // at most 16,384 elements of one variable
  };
  std::vector<Block> blocks;
  std::vector<size_t> tasks;  // the first block of each task (small ones share one), and the end
  std::vector<double> of_block;
  std::vector<double> of_variable;  // 0 where the gradient is absent
  std::vector<double> elements;     // of each variable; of all parts, once they are taken
  double order = 2;                 // p >= 1, or infinity: the largest element

  Partial parts;                // of the transform's own shards
  std::vector<double> of_rank;  // for each part one of each rank; then the elements of each

  Norms() = default;
  explicit Norms(const Variables& variables, double order = 2);
  /// With shards, whose settings are those of the transform `op`. Throws InvalidArgument without a
  /// communicator, and for a pattern that no variable matches.
  Norms(const Variables& variables, double order, const std::optional<Shards>& shards,
        std::string_view op);

  /// Nothing in it outlives a step.
  template <class Self, class F>
  static void fields(Self&, F&&) {}

  /// Takes them, `scale` included, together with the other ranks of what is sharded, by its own
  /// shards or, if there are such, by Gradients::partial. Repeated rows of sparse gradients are
  /// merged first.
  void take(Gradients& gradients);
  /// Of all gradients together.
  double global() const;
  /// Names the first variable whose norm is not finite, if there is one, unless one is named; and
  /// leaves the norms with whoever wants them. Called with the norms before anything is changed.
  void report_non_finite(const Gradients& gradients, StepInfo& info) const;
  /// Copies what was taken, without what it was taken with; unless `to` holds norms.
  void leave_with(Norms* to) const;

  /// Norms and elements of parts become those of all parts; `take` does it.
  void join(const Partial& parts_of_ranks, const Layout& layout);
};

}  // namespace rein
