// Norms of all gradients of a step.
#pragma once

#include <cstddef>
#include <vector>

#include "rein/process/step_info.h"
#include "rein/tensor/variables.h"

namespace rein {

/// The L2 norm of each gradient, and of all of them together. Squares are added up in double by
/// fixed blocks of one variable, blocks in their order: the same bits for any number of threads.
/// Kept from step to step, it allocates nothing after the first.
class Norms {
 public:
  Norms() = default;
  explicit Norms(const Variables& variables);

  /// Takes them, `scale` included, after merging the repeated rows of sparse gradients.
  void take(Gradients& gradients);

  /// Of one variable; 0 if its gradient is absent.
  double& operator[](size_t variable) { return each_[variable]; }
  double operator[](size_t variable) const { return each_[variable]; }
  size_t size() const { return each_.size(); }
  /// sqrt of the sum of all squares.
  double global() const;
  /// Tells `info` the first variable whose norm is not finite, if there is one.
  void report_non_finite(const Gradients& gradients, StepInfo& info) const;

 private:
  struct Block {
    size_t variable, begin, size;
  };
  std::vector<Block> blocks_;
  std::vector<size_t> tasks_;  // the first block of each task, and the end
  std::vector<double> sums_;   // of each block
  std::vector<double> each_;
};

}  // namespace rein
