// Clipping each gradient by a norm of its own.
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

struct ClipByNormOptions {
  std::vector<int> axes{};  // a norm for each slice along these axes; empty: one norm
  Semantics semantics = Semantics::safe;
};
/// g * clip_norm / max(|g|, clip_norm), |g| the L2 norm (tf.clip_by_norm, Keras' clipnorm; in the
/// other semantics torch clip_grad_norm_ and optax.clip_by_global_norm of this gradient alone).
/// With axes, those of a sparse gradient are the whole array's: rows that are not there are 0.
Gradient clip_by_norm(const Gradient& g, double clip_norm, ClipByNormOptions options = {},
                      Where where = Where::here());
/// The same of each. Keras' semantics throw if the list is not empty and no gradient is there.
std::vector<Gradient> clip_by_norm(std::span<const Gradient> gradients, double clip_norm,
                                   ClipByNormOptions options = {}, Where where = Where::here());

/// The same with the average norm |g| / n, n the number of elements (tf.clip_by_average_norm of
/// TensorFlow 1; the sum is divided, it is not a root mean square). All semantics but safe are
/// TensorFlow's.
Gradient clip_by_average_norm(const Gradient& g, double clip_norm,
                              Semantics semantics = Semantics::safe, Where where = Where::here());

/// g / max(1, rms(g) / threshold), rms(g) = |g| / sqrt(n) (optax.clip_by_block_rms; the update
/// clipping of Adafactor, Shazeer, Stern 2018, arXiv 1804.04235, with threshold 1). All semantics
/// but safe are Optax's.
Gradient clip_by_block_rms(const Gradient& g, double threshold,
                           Semantics semantics = Semantics::safe, Where where = Where::here());

// ---------------------------------------------------------------- as transforms
// They measure: see ClipByGlobalNorm.

/// As clip_by_norm, each variable by its own norm.
struct ClipByNorm {
  static constexpr std::string_view name = "ClipByNorm";
  Threshold clip_norm = 1;
  /// With axes, a norm for each slice along them; variables that have not all of these axes are
  /// clipped by their whole norm.
  std::vector<int> axes{};
  Semantics semantics = Semantics::safe;
  /// Of variables that are spread over ranks; without axes, and Semantics::safe alone.
  std::optional<Shards> shards{};

  struct State {
    Norms norms;
    SliceNorms slices;          // with axes
    std::vector<double> after;  // norms of variables
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("clip_norm", self.clip_norm);
    f("axes", self.axes);
    f("semantics", self.semantics);
    f("shards", self.shards);
  }
};

/// As clip_by_average_norm, each variable by its own.
struct ClipByAverageNorm {
  static constexpr std::string_view name = "ClipByAverageNorm";
  Threshold clip_norm = 1;
  Semantics semantics = Semantics::safe;
  /// Of variables that are spread over ranks; Semantics::safe alone.
  std::optional<Shards> shards{};

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("clip_norm", self.clip_norm);
    f("semantics", self.semantics);
    f("shards", self.shards);
  }
};

/// As clip_by_block_rms, each variable by its own.
struct ClipByBlockRms {
  static constexpr std::string_view name = "ClipByBlockRms";
  Threshold threshold = 1;
  Semantics semantics = Semantics::safe;
  /// Of variables that are spread over ranks; Semantics::safe alone.
  std::optional<Shards> shards{};

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("threshold", self.threshold);
    f("semantics", self.semantics);
    f("shards", self.shards);
  }
};

}  // namespace rein
