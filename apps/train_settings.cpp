#include "train_settings.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <vector>

#include "form.h"
#include "names.h"
#include "rein/base/text.h"
#include "usage_error.h"
#include "version.h"

namespace rein::app {
namespace {

using S = TrainSettings;

constexpr double kMany = 1e9;

constexpr std::array<TrainOption, 23> kOptions{{
    {"data", "DIR",
     "folder of the four Fashion-MNIST files, or 'generated' for the built-in task of strokes",
     &S::data, 0, 0, false},
    {"clip", "FORM", "gradient clipping, such as none or global:5, see below", &S::clip},
    {"optimizer", "FORM", "such as adam or sgd, see below", &S::optimizer},
    {"learning_rate", "X", "step size; 0 is the optimizer's own, 0.001 of adam", &S::learning_rate,
     0, 1e38},
    {"schedule", "FORM", "how the learning rate changes, see below", &S::schedule},
    {"warmup", "N", "steps in which the learning rate rises to where the schedule begins",
     &S::warmup, 0, kMany},
    {"clip_updates", "FORM", "a clip, as of --clip, of what the optimizer adds", &S::clip_updates},
    {"cell_clip", "X", "bound of the LSTM's cells at every time step; 0 is none", &S::cell_clip, 0,
     1e38},
    {"error_clip", "X", "bound of the gates' gradients at every time step; 0 is none",
     &S::error_clip, 0, 1e38},
    {"forget_bias", "X", "added to the LSTM's forget gates; more of it remembers longer",
     &S::forget_bias, -100, 100},
    {"non_finite", "FORM", "what becomes of a step that is not finite, see below", &S::non_finite},
    {"rollback", "FORM", "whether training goes back when steps are bad in a row, see below",
     &S::rollback},
    {"loss_scale", "X", "initial scale of the loss; 0 is none", &S::loss_scale, 0, 16777216},
    {"precision", "P", "what products round their inputs to: f32, bf16 or bf16x3", &S::precision, 0,
     0, false},
    {"accumulate", "N", "parts of a batch that are computed one after the other", &S::accumulate, 1,
     1 << 20},
    {"average", "X", "decay of an average of the weights, which is evaluated and saved; 0 is none",
     &S::average, 0, 0.999999},
    {"epochs", "N", "passes over the training examples", &S::epochs, 1, kMany, false},
    {"batch_size", "N", "examples a step; an epoch leaves out what does not fill one",
     &S::batch_size, 1, 1 << 20},
    {"hidden", "N", "units of the LSTM", &S::hidden, 1, 1 << 14},
    {"layers", "N", "LSTMs on top of each other", &S::layers, 1, 64},
    {"limit", "N", "use only the first N training and test examples; 0 takes all", &S::limit, 0,
     kMany},
    {"seed", "N", "of initial weights and the order of examples", &S::seed, 0, kMany},
    {"threads", "N", "0 takes all; the results do not depend on it", &S::threads, 0, 1024, false},
}};

template <class T>
constexpr std::string_view kind_of();
template <>
constexpr std::string_view kind_of<std::string>() {
  return "a text";
}
template <>
constexpr std::string_view kind_of<int64_t>() {
  return "a whole number";
}
template <>
constexpr std::string_view kind_of<double>() {
  return "a number";
}

// Stores a value that has been read, if it is within the bounds.
template <class T>
void store(S& settings, const TrainOption& option, T S::*member, T value) {
  if constexpr (!std::is_same_v<T, std::string>)
    if (!(static_cast<double>(value) >= option.least && static_cast<double>(value) <= option.most))
      throw UsageError(fmt::format("{}: {} is not from {:.15g} to {:.15g}", option.key, value,
                                   option.least, option.most));
  settings.*member = std::move(value);
}

const TrainOption& option_of(std::string_view key) {
  std::vector<std::string_view> keys;
  std::string known;
  for (const TrainOption& option : kOptions) {
    if (option.key == key) return option;
    keys.push_back(option.key);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", option.key);
  }
  throw UsageError(
      fmt::format("unknown setting '{}'{}\nknown are: {}", key, did_you_mean(key, keys), known));
}

void set_from_value(S& settings, const TrainOption& option, const SettingValue& value) {
  std::visit(
      [&]<class T>(T S::*member) {
        if (const T* same = std::get_if<T>(&value)) return store(settings, option, member, *same);
        if constexpr (std::is_same_v<T, double>)
          if (const int64_t* whole = std::get_if<int64_t>(&value))
            return store(settings, option, member, static_cast<double>(*whole));
        throw UsageError(fmt::format("{}: {} is expected", option.key, kind_of<T>()));
      },
      option.member);
}

// Some texts have a meaning.
constexpr int64_t kAnyNumber = 1000;  // of steps, while it is not known
constexpr double kAnyRate = 1e-3;
constexpr double kLeastRate = 1e-37;  // as a float
void check_meaning(const S& settings, const TrainOption& option) {
  if (option.key == "learning_rate" && settings.learning_rate != 0 &&
      settings.learning_rate < kLeastRate)
    throw UsageError(fmt::format("learning_rate: {} is not from {} to {:.15g}, nor 0",
                                 settings.learning_rate, kLeastRate, option.most));
  if (option.key == "clip") make_clip(settings.clip);
  if (option.key == "clip_updates") make_clip(settings.clip_updates, option.key);
  if (option.key == "optimizer") make_rule(settings.optimizer, kAnyRate);
  if (option.key == "schedule") make_schedule(settings.schedule, kAnyRate, kAnyNumber);
  if (option.key == "non_finite") make_check(settings.non_finite);
  if (option.key == "rollback") make_rollback(settings.rollback);
  if (option.key == "precision") make_products(settings.precision);
}

}  // namespace

std::span<const TrainOption> train_options() { return kOptions; }

std::string text_of(const S& settings, const TrainOption& option) {
  return std::visit([&](auto member) { return fmt::format("{}", settings.*member); },
                    option.member);
}

double learning_rate_of(const S& settings) {
  return settings.learning_rate > 0 ? settings.learning_rate
                                    : usual_learning_rate(settings.optimizer);
}

void set_from_text(S& settings, const TrainOption& option, std::string_view text) {
  std::visit(
      [&]<class T>(T S::*member) {
        T value{};
        if (!parse(text, value))
          throw UsageError(fmt::format("{}: '{}' is not {}", option.key, text, kind_of<T>()));
        store(settings, option, member, std::move(value));
      },
      option.member);
  check_meaning(settings, option);
}

void set_from_assignment(S& settings, std::string_view assignment) {
  const size_t equal = assignment.find('=');
  if (equal == std::string_view::npos)
    throw UsageError(fmt::format("--set {}: key=value is expected", assignment));
  set_from_text(settings, option_of(assignment.substr(0, equal)), assignment.substr(equal + 1));
}

void set_from_file(S& settings, const std::filesystem::path& path) {
  for (const Setting& setting : read_settings(path)) {
    try {
      const TrainOption& option = option_of(setting.key);
      set_from_value(settings, option, setting.value);
      check_meaning(settings, option);
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("{}: {}: {}", path.string(), setting.place, e.what()));
    }
  }
}

void write_to_file(const S& settings, const std::filesystem::path& path) {
  std::vector<Setting> all;
  for (const TrainOption& option : kOptions)
    std::visit(
        [&](auto member) {
          all.push_back({std::string(option.key), settings.*member});
        },
        option.member);
  write_settings(path, fmt::format("settings of a run of rein {}", kVersion), all);
}

}  // namespace rein::app
