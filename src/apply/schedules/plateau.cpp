#include "rein/apply/schedules/plateau.h"

#include <algorithm>
#include <limits>

#include "apply/schedules/check.h"

namespace rein {

std::string_view to_string(PlateauForm form) {
  return form == PlateauForm::pytorch ? "pytorch" : "keras";
}

namespace {

// What is known after some metrics.
struct Known {
  double rate = 0;
  double best = 0;
  int64_t bad = 0;
  int64_t cooldown = 0;  // metrics that are left of it
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rate", self.rate);
    f("best", self.best);
    f("bad", self.bad);
    f("cooldown", self.cooldown);
  }
};

struct Setter {
  const std::vector<Field>& fields;
  template <class T>
  void leaf(const std::string& path, T& x) const {
    for (const Field& field : fields)
      if (field.name == path) x = std::get<T>(field.value);
  }
};

bool better(const PlateauSettings& s, double metric, double best) {
  const double sign = s.higher_is_better ? 1 : -1;
  if (s.relative && s.form == PlateauForm::pytorch)
    return sign * metric > sign * (best * (1 + sign * s.threshold));
  return sign * metric > sign * (best + sign * s.threshold);
}

void fall(const PlateauSettings& s, Known& known) {
  constexpr double kLeastFall = 1e-8;  // eps of PyTorch
  const double rate = std::max(known.rate * s.factor, s.minimum);
  if (s.form == PlateauForm::keras ? rate < known.rate : known.rate - rate > kLeastFall)
    known.rate = rate;
  known.cooldown = s.cooldown;
  known.bad = 0;
}

}  // namespace

struct ReduceOnPlateau::Shared final : SettingState {
  explicit Shared(const PlateauSettings& s) : settings(s) {
    known.rate = s.initial;
    known.best = std::numeric_limits<double>::infinity() * (s.higher_is_better ? -1 : 1);
  }
  std::vector<Field> state() const override { return settings_of(known).fields; }
  void set_state(const std::vector<Field>& fields) override {
    visit_fields("", known, Setter{fields});
  }
  PlateauSettings settings;
  Known known;
};

ReduceOnPlateau::ReduceOnPlateau(PlateauSettings s, Where where) {
  require(s.initial >= 0 && std::isfinite(s.initial), name, "initial", "a finite number from 0 on",
          s.initial, where);
  require(s.factor >= 0 && s.factor < 1, name, "factor", "in [0, 1)", s.factor, where);
  require(s.threshold >= 0 && std::isfinite(s.threshold), name, "threshold",
          "a finite number from 0 on", s.threshold, where);
  require(s.minimum >= 0, name, "minimum", "a number from 0 on", s.minimum, where);
  require(s.patience >= 0, name, "patience", "a number from 0 on", static_cast<double>(s.patience),
          where);
  require(s.cooldown >= 0, name, "cooldown", "a number from 0 on", static_cast<double>(s.cooldown),
          where);
  shared_ = std::make_shared<Shared>(s);
}

double ReduceOnPlateau::feed(double metric) {
  const PlateauSettings& s = shared_->settings;
  Known& known = shared_->known;
  const bool is_better = better(s, metric, known.best);
  if (is_better) known.best = metric;
  if (s.form == PlateauForm::keras) {
    if (known.cooldown > 0) {
      --known.cooldown;
      known.bad = 0;
    }
    if (is_better)
      known.bad = 0;
    else if (known.cooldown == 0 && ++known.bad >= s.patience && known.rate > s.minimum)
      fall(s, known);
    return known.rate;
  }
  known.bad = is_better ? 0 : known.bad + 1;
  if (known.cooldown > 0) {
    --known.cooldown;
    known.bad = 0;
  }
  if (known.bad > s.patience) fall(s, known);
  return known.rate;
}

double ReduceOnPlateau::rate() const { return shared_->known.rate; }
std::shared_ptr<SettingState> ReduceOnPlateau::live() const { return shared_; }
const PlateauSettings& ReduceOnPlateau::settings() const { return shared_->settings; }

}  // namespace rein
