// What a training run can be told, in one table: flags, keys of configuration files and the
// settings of a run directory all come from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "rein/io/settings.h"

namespace rein::app {

struct TrainSettings {
  std::string data;  // a folder or `generated`; empty: decided when the data is loaded
  std::string clip = "global:5";
  std::string optimizer = "adam";
  double learning_rate = 0;  // 0: the optimizer's own
  std::string schedule = "constant";
  int64_t warmup = 0;  // steps
  std::string clip_updates = "none";
  double cell_clip = 0, error_clip = 0;  // 0: none
  double forget_bias = 1;
  std::string non_finite = "stop";
  std::string rollback = "none";
  std::string precision = "f32";
  double loss_scale = 0;  // 0: none
  int64_t accumulate = 1;
  double average = 0;  // 0: none
  int64_t epochs = 6;
  int64_t batch_size = 128;
  int64_t hidden = 128;
  int64_t layers = 1;
  int64_t limit = 0;  // examples; 0: all
  int64_t seed = 1;
  int64_t threads = 0;  // 0: all
};

struct TrainOption {
  std::string_view key;  // `learning_rate`; its flag is `--learning-rate`
  std::string_view value;
  std::string_view help;
  std::variant<std::string TrainSettings::*, int64_t TrainSettings::*, double TrainSettings::*>
      member;
  double least = 0, most = 0;  // of numbers
  bool part_of_the_result = true;
};
std::span<const TrainOption> train_options();

std::string text_of(const TrainSettings& settings, const TrainOption& option);

double learning_rate_of(const TrainSettings& settings);

/// Sets one option from text, as it stands on a command line. Throws UsageError.
void set_from_text(TrainSettings& settings, const TrainOption& option, std::string_view text);
/// The same for `key=value`; an unknown key is an error with a suggestion.
void set_from_assignment(TrainSettings& settings, std::string_view assignment);
/// Sets what a TOML file says. Throws UsageError with line and column, and as read_settings.
void set_from_file(TrainSettings& settings, const std::filesystem::path& path);
void write_to_file(const TrainSettings& settings, const std::filesystem::path& path);

}  // namespace rein::app
