// Limits of clips.
#pragma once

#include <concepts>
#include <utility>

#include "rein/base/schedule.h"
#include "rein/process/step_info.h"

namespace rein {

/// A limit: a number, a Schedule of the step (from 0), or either of them for each example of the
/// batch.
///
///     ClipByNorm{.clip_norm = 5}
///     ClipByNorm{.clip_norm = [](int64_t step) { return step < 1000 ? 1.0 : 5.0; }}
///     ClipByNorm{.clip_norm = per_sample(0.01)}
class Threshold {
 public:
  Threshold(double value) : value_(value) {}
  template <class T>
  requires(!std::same_as<T, Threshold> && std::convertible_to<T, Schedule>) Threshold(T schedule)
      : value_(std::move(schedule)) {}

  /// At a step. Throws InvalidArgument if it is one for each example and their number is not known.
  double at(const StepInfo& info) const;
  /// Whether it is the same at every step.
  bool is_constant() const { return value_.is_constant() && !per_sample_; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("value", self.value_);
    f("per_sample", self.per_sample_);
  }

 private:
  friend Threshold per_sample(Threshold limit);

  Schedule value_;
  bool per_sample_ = false;
};

/// The limit times the number of examples in the batch: for losses that are sums over the batch,
/// whose gradients grow with it (CNTK's gradientClippingThresholdPerSample). A Step knows it by
/// StepOptions::batch_axis.
inline Threshold per_sample(Threshold limit) {
  limit.per_sample_ = true;
  return limit;
}

}  // namespace rein
