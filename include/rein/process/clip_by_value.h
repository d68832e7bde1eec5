// Clipping element by element.
#pragma once

#include <limits>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/semantics.h"
#include "rein/process/threshold.h"
#include "rein/process/transform.h"

namespace rein {

/// A bound of clip_by_value: a number, or a tensor of the gradient's dtype that broadcasts to its
/// shape (for a sparse one, to that of the whole array).
class Bound {
 public:
  Bound(double number) : bound_(number) {}
  Bound(Tensor tensor) : bound_(std::move(tensor)) {}
  const double* number() const { return std::get_if<double>(&bound_); }
  const Tensor* tensor() const { return std::get_if<Tensor>(&bound_); }

 private:
  std::variant<double, Tensor> bound_;
};

/// max(min(g, hi), lo), elementwise; NaN stays NaN (tf.clip_by_value, torch clip_grad_value_,
/// optax.clip, Keras' clipvalue). Semantics::safe throws for lo > hi and NaN bounds; elsewhere lo
/// wins (TensorFlow), hi wins (PyTorch, Optax), or nothing happens unless hi > 0 (Keras).
Gradient clip_by_value(const Gradient& g, const Bound& lo, const Bound& hi,
                       Semantics semantics = Semantics::safe, Where where = Where::here());
/// The same of each. PyTorch's semantics throw if none of the gradients is there; Keras' unless the
/// list is empty.
std::vector<Gradient> clip_by_value(std::span<const Gradient> gradients, const Bound& lo,
                                    const Bound& hi, Semantics semantics = Semantics::safe,
                                    Where where = Where::here());

/// As clip_by_value, on every gradient; rows that a sparse one does not have stay 0. Other bounds
/// for some variables: `Groups` (rein/process/groups.h). It measures: see ClipByGlobalNorm.
struct ClipByValue {
  static constexpr std::string_view name = "ClipByValue";
  Threshold min = -std::numeric_limits<double>::infinity();
  Threshold max = std::numeric_limits<double>::infinity();
  Semantics semantics = Semantics::safe;

  struct State {
    Norms before, after;
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("min", self.min);
    f("max", self.max);
    f("semantics", self.semantics);
  }
};

}  // namespace rein
