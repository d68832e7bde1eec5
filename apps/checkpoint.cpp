#include "checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "names.h"
#include "rein/io/state_file.h"
#include "usage_error.h"

namespace rein::app {
namespace {

constexpr const char *kFormat = "rein checkpoint 1", *kRun = "run/", *kStep = "step/";

// What is saved beside the state of the step.
struct Run {
  std::string format;
  int64_t steps_an_epoch = 0;
  EpochSummary summary;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("format", self.format);
    f("steps_an_epoch", self.steps_an_epoch);
    f("summary", self.summary);
  }
};

std::string setting_path(const TrainOption& option) {
  return fmt::format("{}settings/{}", kRun, option.key);
}

// That more epochs would not have been another learning rate from the first step on.
void check_schedule(const Checkpoint& checkpoint, const TrainSettings& now) {
  const auto schedule = [&](const TrainSettings& s) {
    const int64_t steps = s.epochs * checkpoint.steps_an_epoch;
    return to_string(settings_of(make_schedule(s.schedule, learning_rate_of(s), steps, s.warmup)));
  };
  const TrainSettings& saved = checkpoint.settings;
  if (schedule(saved) == schedule(now)) return;
  throw UsageError(fmt::format(
      "epochs: {0} was trained with the schedule {1} over {2} epochs; over {3} its learning rates "
      "would have been others from the first step on. The checkpoint is as it was: go on with "
      "--epochs {2}, or begin a new run, with --epochs {3} or a schedule that has steps of its own "
      "(as cosine:decay_steps=N), which goes on for any number of epochs",
      checkpoint.file, saved.schedule, saved.epochs, now.epochs));
}

StateDict read(const std::filesystem::path& file) {
  try {
    return load_state(file);
  } catch (const DataError& e) {
    const std::string_view what = e.what();
    throw DataError(file.string(), "checkpoint",
                    fmt::format("{}; give the checkpoint.safetensors in the folder of a run; if "
                                "it is that, --from begins with the weights of the run",
                                what.substr(std::min(
                                    what.size(), file.string().size() + 2))));  // once is enough
  }
}

}  // namespace

int64_t Checkpoint::steps() const { return std::get<int64_t>(step.at("step")); }

void write_checkpoint(const std::filesystem::path& file, const TrainSettings& settings,
                      int64_t steps_an_epoch, const EpochSummary& summary, const Step& step) {
  StateDict out;
  for (auto& [name, value] : step.state()) out[kStep + name] = value;
  save_fields("run", Run{kFormat, steps_an_epoch, summary}, out);
  for (const TrainOption& option : train_options())
    out[setting_path(option)] = text_of(settings, option);
  save_state(file, out);
}

Checkpoint read_checkpoint(const std::filesystem::path& file) {
  const StateDict all = read(file);
  const auto found = all.find("run/format");
  const auto* format = found == all.end() ? nullptr : std::get_if<std::string>(&found->second);
  if (!format || *format != kFormat)
    throw DataError(file.string(), "metadata",
                    fmt::format("no '{}'; give the checkpoint.safetensors of a run", kFormat));
  Checkpoint checkpoint{.file = file.string()};
  StateDict rest;
  for (const auto& [name, value] : all) {
    if (name.starts_with(kStep))
      checkpoint.step[name.substr(std::string_view(kStep).size())] = value;
    else
      rest[name] = value;
  }
  Run run;
  try {
    StateReader reader(rest);
    for (const TrainOption& option : train_options())
      if (const auto* text = reader.find<std::string>(setting_path(option)))
        set_from_text(checkpoint.settings, option, *text);
    load_fields("run", run, reader);
    reader.check("checkpoint", Where::here());
    load_fields("run", run, reader);
  } catch (const std::exception& e) {
    throw DataError(file.string(), "metadata", e.what());
  }
  const auto steps = checkpoint.step.find("step");
  if (steps == checkpoint.step.end() || !std::holds_alternative<int64_t>(steps->second))
    throw DataError(file.string(), "metadata",
                    "no number 'step/step'; give the checkpoint.safetensors of a run");
  checkpoint.steps_an_epoch = run.steps_an_epoch;
  checkpoint.summary = run.summary;
  return checkpoint;
}

void resume(const Checkpoint& checkpoint, const TrainSettings& settings, int64_t steps_an_epoch,
            Step& step) {
  for (const TrainOption& option : train_options()) {
    const std::string saved = text_of(checkpoint.settings, option);
    const std::string now = text_of(settings, option);
    if (option.part_of_the_result && saved != now)
      throw UsageError(fmt::format(
          "{}: {} was trained with {}{}, not {}; leave it as it was, or "
          "begin a new run with its weights by --from ('rein train --help' says at "
          "--resume what may change)",
          option.key, checkpoint.file, saved,
          option.key == "learning_rate" && saved == "0" ? ", the optimizer's own" : "", now));
  }
  if (steps_an_epoch != checkpoint.steps_an_epoch)
    throw UsageError(
        fmt::format("data: {} was trained on {} steps an epoch, here are {}; give the "
                    "data that it was trained on",
                    checkpoint.file, checkpoint.steps_an_epoch, steps_an_epoch));
  check_schedule(checkpoint, settings);
  try {
    step.load_state(checkpoint.step);
  } catch (const InvalidArgument& e) {
    throw DataError(checkpoint.file, "step", e.what());
  }
}

}  // namespace rein::app
