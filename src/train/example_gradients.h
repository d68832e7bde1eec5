// The gradients of the examples of a batch, each clipped, added up.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compute/trace.h"
#include "rein/compute/recording.h"
#include "rein/process/norms.h"
#include "rein/process/per_example.h"

namespace rein {

/// Goes through a batch at once where the model lets each example's norm be seen in one backward
/// pass, else example by example with a recording of one, which takes the memory of one example and
/// of two sets of gradients.
class ExampleGradients {
 public:
  /// `losses` returns one loss an example, [batch], and metrics, [batch, ...]; inputs are
  /// [batch, ...]. Throws InvalidArgument otherwise.
  ExampleGradients(const ModelFunction& losses, std::span<const Spec> batch, Variables& variables,
                   ThreadTeam& team, const RecordingOptions& options, const PerExample& settings,
                   Where where);

  /// Afterwards `gradients()` holds the sum, and one over the number of examples as its `scale`.
  /// Random ops draw anew for each example, in bits 32 to 51 of `draw`.
  void run(std::span<const Tensor> inputs, uint64_t draw, Where where);
  /// In the first example that has one.
  std::optional<NonFiniteOrigin> find_non_finite(std::span<const Tensor> inputs, uint64_t draw,
                                                 Where where);

  /// The mean of those that are not left out; of all if all are.
  double loss() const { return losses_.mean(); }
  Gradients& gradients() { return together_ ? together_->gradients() : loop_->sum; }
  const std::vector<double>& norms() const { return norms_; }  // of each example, before clipping
  int64_t clipped() const { return clipped_; }
  // The least factor and the norm of each example are the last two of the recording's.
  size_t metric_count() const {
    return together_ ? together_->metric_count() - 2 : metrics_.size();
  }
  Tensor metric(size_t i) const { return together_ ? together_->metric(i) : metrics_[i]; }
  GradientRecording& recording() { return together_ ? *together_ : loop_->one; }
  /// Why it goes example by example; empty if it does not.
  const std::string& one_by_one_because() const { return why_loop_; }

 private:
  struct Losses {
    double sum = 0, of_left_out = 0;
    int64_t counted = 0, left_out = 0;
    void add(double loss, double norm) {
      (std::isfinite(norm) ? sum : of_left_out) += loss;
      ++(std::isfinite(norm) ? counted : left_out);
    }
    double mean() const {
      return counted > 0 ? sum / static_cast<double>(counted)
                         : of_left_out / static_cast<double>(left_out);
    }
  };
  struct Loop {
    Loop(Recorded one_example, Variables& variables, ThreadTeam& team, Where where)
        : one(trace_gradients(std::move(one_example), variables, where), variables, team, where),
          norms_of_one(variables),
          sum(variables),
          factors(variables.size(), 1) {}
    GradientRecording one;
    Norms norms_of_one;
    Gradients sum;
    std::vector<size_t> with_gradient;  // variables
    std::vector<double> limits;         // of them, or one of all
    std::vector<double> factors;        // of all variables, for the example at hand
  };

  void check_losses(const Recorded& one_example, Where where);
  void check_inputs(std::span<const Tensor> inputs, Where where) const;
  std::span<const Tensor> example(std::span<const Tensor> inputs, int64_t i);
  void record_together(const ModelFunction& losses, const RecordingOptions& options, Where where);
  void run_together(std::span<const Tensor> inputs, uint64_t draw, Where where);
  void run_loop(std::span<const Tensor> inputs, uint64_t draw, Where where);
  std::vector<double> limits_of(std::span<const size_t> variables) const;
  void add(double norm);

  std::vector<Spec> batch_;
  PerExample settings_;
  Variables& variables_;
  ThreadTeam& team_;
  std::optional<GradientRecording> together_;
  std::optional<Loop> loop_;
  std::optional<Recorded> one_example_;  // for a loop that is not there yet
  std::string why_loop_;
  std::vector<Tensor> metrics_;
  std::vector<Tensor> inputs_;
  std::vector<double> norms_;
  Losses losses_;
  int64_t clipped_ = 0;
};

}  // namespace rein
