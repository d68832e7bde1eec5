#include "run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "rein/io/safetensors.h"
#include "usage_error.h"
#include "version.h"

namespace rein::app {
namespace {

namespace fs = std::filesystem;

// In the metadata of the weights.
constexpr const char *kWhat = "weights", *kBetter = "better than guessing";
constexpr const char* kNoRun = "no run: it holds no settings.toml";

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw IoError(path.string(), "cannot make this folder: " + error.message());
}

fs::path next_free_number() {
  make_folder("runs");
  for (int n = 1;; ++n) {
    const fs::path path = fs::path("runs") / std::to_string(n);
    std::error_code error;
    if (fs::create_directory(path, error)) return path;  // false if it was there
    if (error) throw IoError(path.string(), "cannot make this folder: " + error.message());
  }
}

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

std::string in_shell(const fs::path& path) {
  constexpr std::string_view kPlain = "/._-+=:,@%";
  std::string quoted;
  // In front of a name that would be an option.
  const std::string name = path.native().starts_with('-') ? "./" + path.string() : path.string();
  bool plain = !name.empty();
  for (const char c : name) {
    plain &=
        std::isalnum(static_cast<unsigned char>(c)) || kPlain.find(c) != std::string_view::npos;
    if (std::string_view("\"\\$`").find(c) != std::string_view::npos) quoted += '\\';
    quoted += c;
  }
  return plain ? quoted : '"' + quoted + '"';
}

std::optional<NonFiniteWeight> first_non_finite(const Variables& weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::span<const float> values = weights.values<float>(i);
    const auto bad = std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
    if (bad != values.end())
      return NonFiniteWeight{weights.layout().entries[i].name, bad - values.begin(), *bad};
  }
  return std::nullopt;
}

bool RunFolder::holds_run() const {
  return app::exists(settings_file()) || app::exists(metrics_file()) || app::exists(weights_file());
}

bool RunFolder::has_weights() const { return app::exists(weights_file()); }

RunFolder RunFolder::create(const fs::path& path, bool force) {
  if (path.empty()) return RunFolder(next_free_number());
  RunFolder run(path);
  if (run.holds_run()) {
    if (!force)
      throw UsageError(
          fmt::format("{}: a run is here already; give another --out, or --force to replace it",
                      path.string()));
    for (const fs::path& file : {run.weights_file(), run.checkpoint_file(), run.metrics_file(),
                                 run.settings_file(), run.bundle_file()}) {
      std::error_code error;
      fs::remove(file, error);
      if (error) throw IoError(file.string(), "cannot remove it: " + error.message());
    }
  }
  make_folder(path);
  return run;
}

fs::path RunFolder::file_at(const fs::path& given, fs::path (RunFolder::*name)() const,
                            const char* why_not) {
  std::error_code ignored;
  if (!fs::is_directory(given, ignored)) {
    if (app::exists(given)) return given;
    throw IoError(given.string(), "there is no such file or folder; give that of a run");
  }
  const RunFolder run(given);
  const fs::path file = (run.*name)();
  if (app::exists(file)) return file;
  throw IoError(
      given.string(),
      run.holds_run() ? fmt::format("holds no {}: {}", file.filename().string(), why_not) : kNoRun);
}

fs::path RunFolder::checkpoint_at(const fs::path& file_or_run) {
  return file_at(file_or_run, &RunFolder::checkpoint_file,
                 "no epoch of this run was finished; train again");
}

fs::path RunFolder::bundle_at(const fs::path& file_or_run) {
  return file_at(file_or_run, &RunFolder::bundle_file, "this run did not diverge");
}

RunFolder RunFolder::open(const fs::path& path) {
  RunFolder run(path);
  if (!app::exists(run.settings_file()))
    throw IoError(path.string(),
                  app::exists(path) ? kNoRun : "there is no such folder; give that of a run");
  if (!run.has_weights())
    throw IoError(path.string(),
                  "holds no model.safetensors: no epoch of this run was finished; train again");
  return run;
}

TrainSettings RunFolder::settings() const {
  TrainSettings settings;
  try {
    set_from_file(settings, settings_file());
  } catch (const UsageError& e) {
    throw DataError(path_.string(), "settings", e.what());
  }
  return settings;
}

void RunFolder::load_weights(Variables& variables) const {
  load_variables(weights_file(), variables);
  if (const auto bad = first_non_finite(variables))
    throw DataError(
        weights_file().string(), bad->variable,
        fmt::format("element {} is {}; give a run that did not diverge", bad->element, bad->value));
}

void RunFolder::save_weights(const Variables& variables, int64_t epoch, int64_t step,
                             const SavedWeights& told) const {
  save_variables(weights_file(), variables,
                 {{"producer", fmt::format("rein {}", kVersion)},
                  {"epoch", std::to_string(epoch)},
                  {"step", std::to_string(step)},
                  {kWhat, told.what},
                  {kBetter, fmt::format("{}", told.better_than_guessing)}});
}

std::optional<SavedWeights> RunFolder::saved_weights() const {
  try {
    const auto metadata = read_safetensors(weights_file()).metadata;
    return SavedWeights{metadata.at(kWhat), metadata.at(kBetter) == "true"};
  } catch (const std::exception&) {  // no file, a damaged one, or one of before
  }
  return std::nullopt;
}

}  // namespace rein::app
