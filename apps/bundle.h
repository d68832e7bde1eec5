// What is needed to compute one step again, anywhere: settings, weights and the batch in one file.
#pragma once

#include <filesystem>
#include <span>

#include "rein/tensor/variables.h"
#include "train_settings.h"

namespace rein::app {

struct Bundle {
  TrainSettings settings;
  int64_t step = 0;  // the number of the step that was tried
  std::vector<Tensor> inputs;
};

/// A safetensors file: variables as `variables/NAME`, the batch as `inputs/I`, every setting of the
/// run, the step and the format in the metadata. Throws IoError.
void write_bundle(const std::filesystem::path& file, const Bundle& bundle,
                  const Variables& variables);

/// The way back; `set_variables` sets the weights of a network made by the bundle's settings. Throw
/// IoError, and DataError for a file that is none, or whose network is another.
Bundle read_bundle(const std::filesystem::path& file);
void set_variables(const std::filesystem::path& file, Variables& variables);

}  // namespace rein::app
