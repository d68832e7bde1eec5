// What is needed to compute one step again, anywhere: settings, state and the batch in one file.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "rein/kernels/precision.h"
#include "rein/tensor/state.h"
#include "train_settings.h"

namespace rein::app {

struct Bundle {
  TrainSettings settings;
  StateDict state;  // as Step::state, before the step that was tried
  std::vector<Tensor> inputs;
  std::optional<NarrowUnit> unit{};  // that multiplied, in a narrow precision
};

/// A state file: the state as `state/NAME`, the batch as `bundle/inputs/I`, every setting of the
/// run, the unit and the format. Throws IoError.
void write_bundle(const std::filesystem::path& file, const Bundle& bundle);

/// The way back. Throws IoError, and DataError for a file that is none.
Bundle read_bundle(const std::filesystem::path& file);

/// Part i of n of a batch, as a step takes it in micro-batches.
std::vector<Tensor> part_of(const std::vector<Tensor>& batch, int64_t i, int64_t n);

}  // namespace rein::app
