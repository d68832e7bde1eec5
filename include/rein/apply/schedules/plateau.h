// A rate that falls when a metric no longer improves.
#pragma once

#include <memory>
#include <string_view>

#include "rein/base/schedule.h"

namespace rein {

/// Who counts how.
enum class PlateauForm : uint8_t {
  /// The rate falls at the first metric after `patience` bad ones; metrics during the cooldown are
  /// not counted; a fall of at most 1e-8 is left out (torch.optim.lr_scheduler.ReduceLROnPlateau).
  pytorch,
  /// The rate falls at the bad metric number `patience`; the metric that ends a cooldown counts
  /// again (keras.callbacks.ReduceLROnPlateau, whose threshold is always absolute).
  keras
};
std::string_view to_string(PlateauForm form);

struct PlateauSettings {
  double initial = 0.01;
  double factor = 0.1;      // a fall multiplies the rate by it
  int64_t patience = 10;    // how many bad metrics are borne
  double threshold = 1e-4;  // by how much a metric must better the best
  bool relative = true;     // whether that is a share of the best
  bool higher_is_better = false;
  int64_t cooldown = 0;  // metrics after a fall that cannot be bad
  double minimum = 0;    // of the rate
  PlateauForm form = PlateauForm::pytorch;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("factor", self.factor);
    f("patience", self.patience);
    f("threshold", self.threshold);
    f("relative", self.relative);
    f("higher_is_better", self.higher_is_better);
    f("cooldown", self.cooldown);
    f("minimum", self.minimum);
    f("form", self.form);
  }
};

/// The schedule: keep one, give it to a rule, and tell it the metric after each evaluation. Copies
/// share what they know, so that the one in the rule follows.
///
///     ReduceOnPlateau rate{{.initial = 1e-3, .patience = 3}};
///     Step train = record(cost, vars, chain(), Adam{.learning_rate = rate});
///     ...
///     rate.feed(validation_loss);
///
/// A metric that is NaN is a bad one. What it knows is saved with the rule that has it.
class ReduceOnPlateau {
 public:
  static constexpr std::string_view name = "ReduceOnPlateau";

  /// Throws InvalidArgument for settings that make no sense.
  explicit ReduceOnPlateau(PlateauSettings settings = {}, Where where = Where::here());

  /// Takes a metric; returns the rate from now on.
  double feed(double metric);
  double rate() const;

  double at(int64_t) const { return rate(); }
  std::shared_ptr<SettingState> live() const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    PlateauSettings::fields(self.settings(), f);
  }

 private:
  const PlateauSettings& settings() const;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace rein
