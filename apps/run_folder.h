// The directory of a run: settings.toml, metrics.jsonl, model.safetensors, checkpoint.safetensors;
// diverged.safetensors if it did.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "rein/tensor/variables.h"
#include "train_settings.h"

namespace rein::app {

struct NonFiniteWeight {
  std::string variable;
  int64_t element = 0;
  float value = 0;
};
/// The first, if there is one.
std::optional<NonFiniteWeight> first_non_finite(const Variables& weights);

/// What is told of the weights of a run beside them.
struct SavedWeights {
  std::string what;  // `epoch 3, test accuracy 0.8842`
  bool better_than_guessing = false;
};

/// As one writes it in a shell: in quotes if it needs them.
std::string in_shell(const std::filesystem::path& path);

class RunFolder {
 public:
  /// Makes the folder for a new run; an empty path stands for the next free number under runs/.
  /// Throws UsageError if a run is there already, unless `force` says to replace it.
  static RunFolder create(const std::filesystem::path& path, bool force);
  /// The file, or that of the run whose folder is given. Throws IoError if it is not there.
  static std::filesystem::path checkpoint_at(const std::filesystem::path& file_or_run);
  static std::filesystem::path bundle_at(const std::filesystem::path& file_or_run);
  /// The folder that a checkpoint is in.
  static RunFolder of_checkpoint(const std::filesystem::path& file) {
    return RunFolder(file.parent_path().empty() ? "." : file.parent_path());
  }
  /// A run that exists. Throws IoError.
  static RunFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path settings_file() const { return path_ / "settings.toml"; }
  std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path weights_file() const { return path_ / "model.safetensors"; }
  std::filesystem::path checkpoint_file() const { return path_ / "checkpoint.safetensors"; }
  std::filesystem::path bundle_file() const { return path_ / "diverged.safetensors"; }

  bool has_weights() const;  // an epoch was finished
  /// Throws DataError for settings that make no sense.
  TrainSettings settings() const;
  /// Throws DataError, naming the first, for weights that are not finite: they say nothing.
  void load_weights(Variables& variables) const;
  void save_weights(const Variables& variables, int64_t epoch, int64_t step,
                    const SavedWeights& told) const;
  /// What was told of those that are there, if there are some and it is known.
  std::optional<SavedWeights> saved_weights() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  bool holds_run() const;
  static std::filesystem::path file_at(const std::filesystem::path& given,
                                       std::filesystem::path (RunFolder::*name)() const,
                                       const char* why_not);

  std::filesystem::path path_;
};

}  // namespace rein::app
