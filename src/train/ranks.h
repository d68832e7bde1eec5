// What a step does together with the other ranks of its communicator.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rein/base/error.h"
#include "rein/base/fields.h"
#include "rein/dist/communicator.h"
#include "rein/process/step_info.h"
#include "rein/tensor/state.h"
#include "rein/tensor/variables.h"

namespace rein {

class Ranks {
 public:
  explicit Ranks(Communicator& communicator) : communicator_(communicator) {}

  /// Of the m-th micro-batch here, among those of all ranks.
  int64_t number_of(int64_t m) const { return m * communicator_.size() + communicator_.rank(); }

  /// Whether all are known to train the same.
  bool same() const { return same_ || alone(); }
  void forget() { same_ = false; }
  /// Throws InvalidArgument on all ranks unless they have the same variables, settings and
  /// `remembered` values, to the bit.
  void need_same(const Variables& variables, const Settings& settings, const StateDict& remembered,
                 Where where);

  /// Gradients, loss and counts become those of all ranks together: the sum of the stored numbers,
  /// and the `scale` that makes their mean. A variable is absent if it is on all ranks; rows, in
  /// the order of ranks, if it is dense on none.
  void join(Gradients& gradients, StepInfo& info);

 private:
  bool alone() const { return communicator_.size() == 1; }
  void join_rows(Gradients& gradients, size_t variable);
  template <class T>
  void send(std::span<T> x, int root) {
    communicator_.broadcast(std::as_writable_bytes(x), root);
  }

  Communicator& communicator_;
  std::vector<double> sums_;
  bool same_ = false;
};

}  // namespace rein
