// What looks at the units of a layer: the columns of a weight matrix, one for each of its outputs.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/semantics.h"
#include "rein/process/slices.h"
#include "rein/process/threshold.h"
#include "rein/process/transform.h"

namespace rein {

struct AdaptiveGradClipOptions {
  double epsilon = 1e-3;      // the least norm that parameters of a unit count with
  std::optional<int> axis{};  // norms along this axis; none: by rank, see below
  Semantics semantics = Semantics::safe;
};
/// Adaptive gradient clipping: the gradient g of each unit is shortened to
/// clipping * max(|w|, epsilon) if it is longer, |w| the norm of the unit's parameters (Brock, De,
/// Smith, Simonyan 2021, arXiv 2102.06171; optax.adaptive_grad_clip, whose formula all semantics
/// but safe have). A unit is a whole vector (rank 0 or 1, axes of size 1 not counted), what shares
/// the last axes of an array of rank 2 or 3 (norms along axis 0: columns of [in, out]), or the last
/// axis (ranks 4 and 5). The paper leaves out the last layer: `except` (rein/process/groups.h).
/// `parameters` are of the shapes of the gradients. Rows that a sparse gradient does not have are
/// 0.
std::vector<Gradient> adaptive_grad_clip(std::span<const Gradient> gradients,
                                         std::span<const Tensor> parameters, double clipping,
                                         AdaptiveGradClipOptions options = {},
                                         Where where = Where::here());

/// As adaptive_grad_clip; an `axis` that a variable has not is an error, so leave biases out by
/// `except`. It measures: see ClipByGlobalNorm. One pass over gradients and parameters
/// for the norms, and one over what is clipped.
struct AdaptiveGradClip {
  static constexpr std::string_view name = "AdaptiveGradClip";
  Threshold clipping = 0.01;
  double epsilon = 1e-3;
  std::optional<int> axis{};
  Semantics semantics = Semantics::safe;

  struct State {
    SliceNorms slices;
    std::vector<double> of_parameters;  // as slices.values
    std::vector<double> after;
    Norms norms;
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("clipping", self.clipping);
    f("epsilon", self.epsilon);
    f("axis", self.axis);
    f("semantics", self.semantics);
  }
};

/// Gradient centralization: the mean over all axes but one is subtracted (Yong, Huang, Hua, Zhang
/// 2020, arXiv 2004.01461: over all but that of the outputs). `axis` is the one that stays: -1, the
/// outputs of weights [in, out]; optax.centralize has 0. Ranks 0 and 1, absent and sparse gradients
/// (the mean would fill every row) are left alone.
Gradient centralize(const Gradient& g, int axis = -1, Where where = Where::here());

/// As centralize. What is pending in `gradients.scale` stays so.
struct Centralize {
  static constexpr std::string_view name = "Centralize";
  int axis = -1;

  using State = SliceNorms;  // sums
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("axis", self.axis);
  }
};

}  // namespace rein
