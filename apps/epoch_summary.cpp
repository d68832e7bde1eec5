#include "epoch_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rein::app {

void EpochSummary::add(const StepInfo& info) {
  last_step_ = info.step;
  seconds_ += info.seconds;
  rollbacks_ += info.rolled_back;
  if (info.skip) {
    ++skipped_;
    return;
  }
  ++steps_;
  clipped_ += info.clipped;
  loss_ += info.loss;
  norm_ += info.norm;
  clipped_norm_ += info.clipped_norm;
  largest_norm_ = std::max(largest_norm_, info.norm);
}

double EpochSummary::examples_a_second(int64_t batch_size) const {
  return static_cast<double>((steps_ + skipped_) * batch_size) / seconds_;
}

std::string loss_text(double loss) {
  if (std::isnan(loss)) return "nan";
  return std::abs(loss) < 1e5 ? fmt::format("{:.4f}", loss) : fmt::format("{:.4g}", loss);
}

std::string EpochSummary::to_text(int64_t batch_size, const Accuracy& test) const {
  std::string text = fmt::format("test accuracy {:.4f}", test.share());
  if (steps_ > 0)
    text = fmt::format("loss {}  {}  gradient norm {:.3g} -> {:.3g}  clipped {:.1f} %",
                       loss_text(loss()), text, mean(norm_), mean(clipped_norm_),
                       100 * mean(static_cast<double>(clipped_)));
  text += fmt::format("  {:.0f} examples/s", examples_a_second(batch_size));
  if (skipped_ > 0) text += fmt::format("  skipped {} of {}", skipped_, steps_ + skipped_);
  if (rollbacks_ > 0) text += fmt::format("  rolled back {}", rollbacks_);
  return text;
}

JsonObject EpochSummary::to_json(int64_t epoch, int64_t batch_size, const Accuracy& test) const {
  return {{"epoch", epoch},
          {"step", last_step_},
          {"loss", loss()},
          {"test_accuracy", test.share()},
          {"test_correct", test.correct},
          {"test_examples", test.total},
          {"gradient_norm", mean(norm_)},
          {"gradient_norm_max", largest_norm_},
          {"clipped_gradient_norm", mean(clipped_norm_)},
          {"clipped_share", mean(static_cast<double>(clipped_))},
          {"skipped_steps", skipped_},
          {"rollbacks", rollbacks_},
          {"examples_per_second", examples_a_second(batch_size)},
          {"step_seconds", seconds_}};
}

}  // namespace rein::app
