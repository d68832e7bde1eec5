// The gradients of the examples of a batch, each clipped, added up.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rein/compute/recording.h"
#include "rein/process/norms.h"
#include "rein/process/per_example.h"

namespace rein {

/// Goes through a batch example by example, with a recording of one: whatever the model and the
/// batch, it takes the memory of one example and of two sets of gradients.
class ExampleGradients {
 public:
  /// `losses` returns one loss an example, [batch], and metrics, [batch, ...]; inputs are
  /// [batch, ...]. Throws InvalidArgument otherwise.
  ExampleGradients(const ModelFunction& losses, std::span<const Spec> batch, Variables& variables,
                   ThreadTeam& team, Seed seed, const PerExample& settings, Where where);

  /// Afterwards `gradients()` holds the sum, and one over the number of examples as its `scale`.
  /// Random ops draw anew for each example, in bits 32 to 51 of `draw`.
  void run(std::span<const Tensor> inputs, uint64_t draw, Where where);
  /// In the first example that has one.
  std::optional<NonFiniteOrigin> find_non_finite(std::span<const Tensor> inputs, uint64_t draw,
                                                 Where where);

  double loss() const { return loss_; }  // the mean
  Gradients& gradients() { return sum_; }
  const std::vector<double>& norms() const { return norms_; }  // of each example, before clipping
  int64_t clipped() const { return clipped_; }
  size_t metric_count() const { return metrics_.size(); }
  const Tensor& metric(size_t i) const { return metrics_[i]; }
  GradientRecording& recording() { return one_; }

 private:
  ModelFunction checked(const ModelFunction& losses, Where where);
  void check_inputs(std::span<const Tensor> inputs, Where where) const;
  std::span<const Tensor> example(std::span<const Tensor> inputs, int64_t i);
  void add(double norm);

  std::vector<Spec> batch_;
  PerExample settings_;
  std::vector<Tensor> metrics_;
  GradientRecording one_;
  Norms norms_of_one_;
  Gradients sum_;
  std::vector<Tensor> inputs_;
  std::vector<double> norms_;
  double loss_ = 0;
  int64_t clipped_ = 0;
};

}  // namespace rein
