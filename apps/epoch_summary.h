// What is told of an epoch.
#pragma once

#include "classifier.h"
#include "rein/io/json_lines.h"
#include "rein/process/step_info.h"

namespace rein::app {

/// A loss for people: four decimals, or four digits of what is huge.
std::string loss_text(double loss);

class EpochSummary {
 public:
  void add(const StepInfo& info);
  /// The mean; NaN if all steps were skipped.
  double loss() const { return mean(loss_); }
  std::string to_text(int64_t batch_size, const Accuracy& test) const;
  JsonObject to_json(int64_t epoch, int64_t batch_size, const Accuracy& test) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("steps", self.steps_);
    f("skipped", self.skipped_);
    f("rollbacks", self.rollbacks_);
    f("clipped", self.clipped_);
    f("last_step", self.last_step_);
    f("loss", self.loss_);
    f("norm", self.norm_);
    f("clipped_norm", self.clipped_norm_);
    f("seconds", self.seconds_);
    f("largest_norm", self.largest_norm_);
  }

 private:
  // NaN if there was no step that was not skipped.
  double mean(double sum) const { return sum / static_cast<double>(steps_); }
  double examples_a_second(int64_t batch_size) const;

  int64_t steps_ = 0, skipped_ = 0, rollbacks_ = 0, clipped_ = 0, last_step_ = 0;
  double loss_ = 0, norm_ = 0, clipped_norm_ = 0, seconds_ = 0;  // sums
  double largest_norm_ = 0;
};

}  // namespace rein::app
