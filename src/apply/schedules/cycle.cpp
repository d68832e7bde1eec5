#include "rein/apply/schedules/cycle.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

#include "apply/schedules/check.h"

namespace rein {

double Warmup::at(int64_t t) const {
  if (t >= steps) return then.at(t - steps);
  return from + (then.at(0) - from) * static_cast<double>(t) / static_cast<double>(steps);
}
void Warmup::check(Where where) const {
  require(steps >= 0, name, "steps", "a number from 0 on", static_cast<double>(steps), where);
  require_finite(name, "from", from, where);
}

double CosineRestarts::at(int64_t t) const {
  // `at` counts first periods; period i begins at `begin` and takes `length` of them.
  const double at = static_cast<double>(t) / first_decay_steps;
  double i = 0, begin = 0, length = 1;
  if (t_mul == 1) {
    begin = i = std::floor(at);
  } else {
    // Not by a logarithm, which may land on the wrong side of a restart.
    for (; at >= begin + length; ++i) {
      begin += length;
      length *= t_mul;
    }
  }
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * (at - begin) / length));
  return initial * ((1 - alpha) * std::pow(m_mul, i) * cosine + alpha);
}
void CosineRestarts::check(Where where) const {
  require_finite(name, "initial", initial, where);
  require_positive(name, "first_decay_steps", first_decay_steps, where);
  require(t_mul >= 1 && std::isfinite(t_mul), name, "t_mul", "a finite number from 1 on", t_mul,
          where);
  require_finite(name, "m_mul", m_mul, where);
  require_finite(name, "alpha", alpha, where);
}

std::string_view to_string(Anneal anneal) { return anneal == Anneal::cosine ? "cosine" : "linear"; }

namespace {

double between(double from, double to, double share, Anneal anneal) {
  if (anneal == Anneal::linear) return from + (to - from) * share;
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * share));
}

// Low, high, in three phases low again, and last: where each stretch ends, counted as PyTorch does.
double along_cycle(double low, double high, double last, int64_t t, int64_t total_steps,
                   double rise_fraction, Anneal anneal, bool three_phase) {
  const auto total = static_cast<double>(total_steps);
  const double top = rise_fraction * total - 1;
  const std::array<double, 4> all_ends{
      0, top, three_phase ? 2 * rise_fraction * total - 2 : total - 1, total - 1};
  const std::array<double, 4> all_values{low, high, three_phase ? low : last, last};
  const size_t n = three_phase ? 4 : 3;
  const auto step = static_cast<double>(t);
  for (size_t i = 1; i < n; ++i) {
    if (step > all_ends[i] && i + 1 < n) continue;
    const double share = (step - all_ends[i - 1]) / (all_ends[i] - all_ends[i - 1]);
    return between(all_values[i - 1], all_values[i], std::min(share, 1.0), anneal);
  }
  return last;
}

void check_cycle(std::string_view name, int64_t total_steps, double rise_fraction, bool three_phase,
                 Where where) {
  require(total_steps >= 2, name, "total_steps", "at least 2", static_cast<double>(total_steps),
          where);
  require(rise_fraction > 0 && rise_fraction < (three_phase ? 0.5 : 1), name, "rise_fraction",
          three_phase ? "above 0 and below 0.5 in three phases" : "above 0 and below 1",
          rise_fraction, where);
  if (rise_fraction * static_cast<double>(total_steps) <= 1)
    throw InvalidArgument(name,
                          fmt::format("rise_fraction {} of {} total_steps is a rise of no more "
                                      "than a step; take more steps, or a larger fraction",
                                      rise_fraction, total_steps),
                          where);
}

}  // namespace

double OneCycle::at(int64_t t) const {
  const double initial = max / div_factor;
  return along_cycle(initial, max, initial / final_div_factor, t, total_steps, rise_fraction,
                     anneal, three_phase);
}
void OneCycle::check(Where where) const {
  require_finite(name, "max", max, where);
  require_positive(name, "div_factor", div_factor, where);
  require_positive(name, "final_div_factor", final_div_factor, where);
  check_cycle(name, total_steps, rise_fraction, three_phase, where);
}

double OneCycleMomentum::at(int64_t t) const {
  return along_cycle(max, base, max, t, total_steps, rise_fraction, anneal, three_phase);
}
void OneCycleMomentum::check(Where where) const {
  require_finite(name, "base", base, where);
  require_finite(name, "max", max, where);
  check_cycle(name, total_steps, rise_fraction, three_phase, where);
}

}  // namespace rein
