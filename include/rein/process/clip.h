// Clipping: functions on gradients, and the same as transforms.
//
// Two modes where TensorFlow's formula and good sense differ (docs/gradient-processing.md):
//  - Semantics::safe (default): norms are accumulated in double (1e20 does not overflow, 1e-25 does
//    not vanish), duplicate rows of sparse gradients are added up before any norm, nothing changes
//    a bit when nothing is clipped, thresholds are checked: negative or NaN throws, infinity only
//    measures.
//  - Semantics::tensorflow: TensorFlow 2's formulas in the gradient's own type, in its order, edge
//    cases included.
// In both: absent gradients stay absent, in their place; sparse ones stay sparse.
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/transform.h"

namespace rein {

enum class Semantics : uint8_t { safe, tensorflow };

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

/// max(min(g, hi), lo), elementwise (tf.clip_by_value: lo wins if lo > hi; NaN stays NaN). In
/// Semantics::safe lo > hi and NaN bounds throw.
Gradient clip_by_value(const Gradient& g, const Bound& lo, const Bound& hi,
                       Semantics semantics = Semantics::safe, Where where = Where::here());

struct ClipByNormOptions {
  std::vector<int> axes{};  // a norm for each slice along these axes; empty: one norm
  Semantics semantics = Semantics::safe;
};
/// g * clip_norm / max(|g|, clip_norm), |g| the L2 norm (tf.clip_by_norm).
Gradient clip_by_norm(const Gradient& g, double clip_norm, ClipByNormOptions options = {},
                      Where where = Where::here());

/// The same with the average norm |g| / n, n the number of elements (tf.clip_by_average_norm of
/// TensorFlow 1; the sum is divided, it is not a root mean square).
Gradient clip_by_average_norm(const Gradient& g, double clip_norm,
                              Semantics semantics = Semantics::safe, Where where = Where::here());

/// sqrt(sum of |g|^2) over all gradients that are not absent; 0 if there is none (tf.global_norm).
double global_norm(std::span<const Gradient> gradients, Semantics semantics = Semantics::safe,
                   Where where = Where::here());

struct ClipByGlobalNormOptions {
  std::optional<double> use_norm{};  // a norm that is known already, or shared with others
  Semantics semantics = Semantics::safe;
};
struct ClippedGradients {
  std::vector<Gradient> gradients;  // in the order given
  double norm = 0;                  // the global norm before clipping
};
/// Every gradient times clip_norm / max(norm, clip_norm), norm being that of all of them together
/// (tf.clip_by_global_norm). `auto [clipped, norm] = clip_by_global_norm(gradients, 5);`
ClippedGradients clip_by_global_norm(std::span<const Gradient> gradients, double clip_norm,
                                     ClipByGlobalNormOptions options = {},
                                     Where where = Where::here());

// ---------------------------------------------------------------- as transforms
// Every one of them measures: it fills in norm (unless an earlier one has), clipped_norm, clipped
// and the first non-finite variable. What earlier transforms left in `gradients.scale` counts.

/// As clip_by_value, on every gradient; rows that a sparse one does not have stay 0.
struct ClipByValue {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  Semantics semantics = Semantics::safe;
  struct State {
    Norms before, after;
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
};

/// As clip_by_norm, each variable by its own norm (Keras' clipnorm).
struct ClipByNorm {
  double clip_norm = 1;
  Semantics semantics = Semantics::safe;
  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
};

/// As clip_by_average_norm, each variable by its own.
struct ClipByAverageNorm {
  double clip_norm = 1;
  Semantics semantics = Semantics::safe;
  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
};

/// As clip_by_global_norm: takes the norm in one pass and sets `gradients.scale` (and info.scale)
/// instead of making another.
struct ClipByGlobalNorm {
  double clip_norm = 1;
  Semantics semantics = Semantics::safe;
  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
};

/// Takes the global norm and looks for the first non-finite variable; changes nothing. In front of
/// a transform of your own it tells the norm before, behind it the norm after.
struct MeasureNorm {
  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
};

}  // namespace rein
