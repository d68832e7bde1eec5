// All of a training in one file, to go on with it.
#pragma once

#include <filesystem>

#include "epoch_summary.h"
#include "rein/train/step.h"
#include "train_settings.h"

namespace rein::app {

struct Checkpoint {
  std::string file;
  TrainSettings settings{};
  int64_t steps_an_epoch = 0;
  EpochSummary summary{};  // of the epoch that was begun
  StateDict step{};        // as Step::state

  int64_t steps() const;
};

/// Settings, the state of the step and the epoch's numbers so far, atomically. Throws IoError.
void write_checkpoint(const std::filesystem::path& file, const TrainSettings& settings,
                      int64_t steps_an_epoch, const EpochSummary& summary, const Step& step);

/// Throws IoError, and DataError with the place for a file that is damaged or something else.
Checkpoint read_checkpoint(const std::filesystem::path& file);

/// Sets `step`, which is made of `settings`, to what was saved. Throws UsageError if a setting that
/// the results depend on is another than the saved one, or other epochs mean other learning rates,
/// and DataError for a state that does not fit its settings.
void resume(const Checkpoint& checkpoint, const TrainSettings& settings, int64_t steps_an_epoch,
            Step& step);

}  // namespace rein::app
