// Clipping all gradients by their norm together.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/semantics.h"
#include "rein/process/threshold.h"
#include "rein/process/transform.h"

namespace rein {

struct GlobalNormOptions {
  double norm_type = 2;  // p >= 1, or infinity: the largest element
  Semantics semantics = Semantics::safe;
};
/// The norm of all gradients that are not absent, (sum of |x|^p)^(1/p); 0 if there is none
/// (tf.global_norm, torch get_total_norm, optax.global_norm). Changes nothing. Orders other than 2
/// are there in the semantics safe and pytorch; infinity and a gradient without elements is an
/// error in PyTorch's.
double global_norm(std::span<const Gradient> gradients, GlobalNormOptions options = {},
                   Where where = Where::here());

struct ClipByGlobalNormOptions {
  std::optional<double> use_norm{};  // a norm that is known already, or shared with others
  double norm_type = 2;              // p >= 1, or infinity
  bool error_if_nonfinite = false;   // throw if the norm is not finite, naming the first gradient
  Semantics semantics = Semantics::safe;
};
struct ClippedGradients {
  std::vector<Gradient> gradients;  // in the order given
  double norm = 0;                  // the global norm before clipping
};
/// Every gradient times clip_norm / max(norm, clip_norm), norm being that of all of them together
/// (tf.clip_by_global_norm, Keras' global_clipnorm, optax.clip_by_global_norm; torch
/// clip_grad_norm_ multiplies by min(1, clip_norm / (norm + 1e-6)), and clip_grads_with_norm_ is
/// `use_norm`). `auto [clipped, norm] = clip_by_global_norm(gradients, 5);` Keras' semantics throw
/// if the list is not empty and no gradient is there.
ClippedGradients clip_by_global_norm(std::span<const Gradient> gradients, double clip_norm,
                                     ClipByGlobalNormOptions options = {},
                                     Where where = Where::here());

// ---------------------------------------------------------------- as transforms

/// As clip_by_global_norm: takes the norm in one pass and sets `gradients.scale` (and info.scale)
/// instead of making another.
///
/// As every clip it measures: it fills in norm (unless an earlier one has), clipped_norm, clipped
/// and the first non-finite variable. What earlier transforms left in `gradients.scale` counts.
struct ClipByGlobalNorm {
  static constexpr std::string_view name = "ClipByGlobalNorm";
  Threshold clip_norm = 1;
  double norm_type = 2;             // p >= 1, or infinity
  bool error_if_nonfinite = false;  // throw InvalidArgument then; nothing is changed
  /// From the norm of these gradients to the one that counts: together with that of gradients that
  /// are elsewhere, say. Is part of no file.
  std::function<double(double norm)> use_norm{};
  Semantics semantics = Semantics::safe;
  std::optional<Shards> shards{};  // of variables that are spread over ranks; Semantics::safe alone

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return error_if_nonfinite || use_norm; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("clip_norm", self.clip_norm);
    f("norm_type", self.norm_type);
    f("error_if_nonfinite", self.error_if_nonfinite);
    f("semantics", self.semantics);
    f("shards", self.shards);
  }
};

/// Takes the global norm and looks for the first non-finite variable; changes nothing. In front of
/// a transform of your own it tells the norm before, behind it the norm after.
struct MeasureNorm {
  static constexpr std::string_view name = "MeasureNorm";
  double norm_type = 2;
  std::optional<Shards> shards{};

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("norm_type", self.norm_type);
    f("shards", self.shards);
  }
};

/// First each variable to at most `per_variable`, then all of them together to at most `global`:
/// s_i = min(1, per_variable / |g_i|), s = min(1, global / sqrt(sum of (s_i |g_i|)^2)), g_i s_i s
/// (Kaldi's UpdateNnetWithMaxChange, with 0.75 and 2). Kaldi limits updates, not gradients: for
/// that run it on what a rule gives. One pass for the norms, and one where some s_i is not 1.
struct MaxChange {
  static constexpr std::string_view name = "MaxChange";
  Threshold per_variable = std::numeric_limits<double>::infinity();
  Threshold global = std::numeric_limits<double>::infinity();
  std::optional<Shards> shards{};

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("per_variable", self.per_variable);
    f("global", self.global);
    f("shards", self.shards);
  }
};

}  // namespace rein
