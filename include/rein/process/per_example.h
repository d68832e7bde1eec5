// Clipping the gradient of each example before they are added up.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "rein/process/semantics.h"
#include "rein/tensor/variables.h"

namespace rein {

struct ClippedExamples {
  std::vector<Tensor> sums;  // over the examples, of each gradient
  int64_t clipped = 0;       // how many examples were shortened
};
/// sum over i of g_i min(1, clip_norm / |g_i|), |g_i| the norm of all gradients of example i
/// together (Abadi and others 2016, arXiv 1607.00133; optax.per_example_global_norm_clip). Axis 0
/// of every gradient is the example. Semantics::safe leaves out an example whose norm is not finite
/// and counts it as clipped, so that the sum never moves by more than clip_norm an example; all
/// others are Optax's formula in the type of the gradients. Throws InvalidArgument unless all
/// gradients are floating, of one type, and of the same number of examples.
ClippedExamples per_example_global_norm_clip(std::span<const Tensor> gradients, double clip_norm,
                                             Semantics semantics = Semantics::safe,
                                             Where where = Where::here());

struct ClippedLayers {
  std::vector<Tensor> sums;      // over the examples, of each gradient
  std::vector<int64_t> clipped;  // how many examples were shortened, of each gradient
};
/// per_example_global_norm_clip of each gradient by itself: of K to clip_norm / sqrt(K), or to
/// clip_norm sqrt(n_i / n), n_i of n numbers of an example being in it
/// (optax.per_example_layer_norm_clip; McMahan and others 2018, arXiv 1710.06963).
ClippedLayers per_example_layer_norm_clip(std::span<const Tensor> gradients, double clip_norm,
                                          bool uniform = true,
                                          Semantics semantics = Semantics::safe,
                                          Where where = Where::here());

/// What is limited in the gradient of an example. The squares of the limits add up to clip_norm^2.
enum class ExampleLimits : uint8_t {
  together,  // the norm over all variables
  equal,     // that of each variable that has a gradient, all to one limit
  by_size    // as `equal`, the squares of limits in proportion to the variables' sizes
};
std::string_view to_string(ExampleLimits limits);

/// Settings of a step that learns from each example on its own (StepOptions::per_example). With n
/// losses, one an example, and g_i the gradient of the i-th alone, its gradient is
///
///     (sum over i of g_i min(1, clip_norm / |g_i|) + N(0, (noise_multiplier clip_norm)^2)) / n,
///
/// |g_i| the norm over all variables together: DP-SGD (Abadi and others 2016, arXiv 1607.00133);
/// or, with other `limits`, as per_example_layer_norm_clip, with the same noise, as no example
/// moves the sum by more than clip_norm either. rein/process/privacy.h says what it gives away. An
/// example whose norm is not finite is left out of the sum, and of the mean loss unless all are. A
/// sparse gradient to which noise is added becomes dense: which rows a batch had is not to be seen.
struct PerExample {
  double clip_norm = std::numeric_limits<double>::infinity();  // more than 0
  ExampleLimits limits = ExampleLimits::together;
  double noise_multiplier = 0;  // 0: no noise
  /// What stands for n: 0, the examples of the batch; or the number to be expected, where batches
  /// are filled up with examples whose loss is multiplied by 0. The gradient of a step is divided
  /// by n times its micro-batches, those of all ranks; an accountant's sampling_rate is that of all
  /// of them together.
  double batch_size = 0;
  /// Of the noise, a function of it, variable, element and step alone. Noise needs one, of
  /// std::random_device and kept secret: whoever knows it can take the noise away. No saved state
  /// has it: a run goes on to the bit with the same seed, and as privately with a new one.
  std::optional<uint64_t> seed{};
  /// Never the whole batch at once, whatever the model: it takes the memory of one example. Results
  /// differ in their rounding alone, and a saved state fits both.
  bool one_by_one = false;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("clip_norm", self.clip_norm);
    f("limits", self.limits);
    f("noise_multiplier", self.noise_multiplier);
    f("batch_size", self.batch_size);
  }
};
/// Throws InvalidArgument for settings that make no sense: noise needs a finite clip_norm, and a
/// seed.
void check(const PerExample& settings, Where where);
/// The limit of each of these variables, by their sizes; or the one of all together.
std::vector<double> limits_of(ExampleLimits limits, double clip_norm,
                              std::span<const int64_t> sizes);
/// Adds to a sum of clipped gradients, `scale` aside, the noise of step `step`.
void add_noise(Gradients& sum, const PerExample& settings, int64_t step);

}  // namespace rein
