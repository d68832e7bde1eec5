#include "rein/apply/schedules/decay.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "apply/schedules/check.h"
#include "rein/base/random.h"

namespace rein {
namespace {

double periods(int64_t t, double decay_steps, bool staircase) {
  const double p = static_cast<double>(t) / decay_steps;
  return staircase ? std::floor(p) : p;
}

// How much of a fall is done, at most all of it.
double share(int64_t t, double decay_steps) {
  return std::min(static_cast<double>(t), decay_steps) / decay_steps;
}

double half_cosine(double x) { return 0.5 * (1 + std::cos(std::numbers::pi * x)); }

template <class S>
void check_decay(const S& s, Where where) {
  require_finite(S::name, "initial", s.initial, where);
  require_positive(S::name, "decay_steps", s.decay_steps, where);
}

void check_rising(std::string_view name, std::string_view setting,
                  const std::vector<int64_t>& steps, Where where) {
  if (!std::ranges::is_sorted(steps))
    throw InvalidArgument(name, fmt::format("{} must rise", setting), where);
}

}  // namespace

double ExponentialDecay::at(int64_t t) const {
  return initial * std::pow(decay_rate, periods(t, decay_steps, staircase));
}
void ExponentialDecay::check(Where where) const {
  check_decay(*this, where);
  require_positive(name, "decay_rate", decay_rate, where);
}

double NaturalExpDecay::at(int64_t t) const {
  return initial * std::exp(-decay_rate * periods(t, decay_steps, staircase));
}
void NaturalExpDecay::check(Where where) const {
  check_decay(*this, where);
  require_finite(name, "decay_rate", decay_rate, where);
}

double InverseTimeDecay::at(int64_t t) const {
  return initial / (1 + decay_rate * periods(t, decay_steps, staircase));
}
void InverseTimeDecay::check(Where where) const {
  check_decay(*this, where);
  require(decay_rate >= 0 && std::isfinite(decay_rate), name, "decay_rate",
          "a finite number from 0 on", decay_rate, where);
}

double PolynomialDecay::at(int64_t t) const {
  const auto step = static_cast<double>(t);
  double done = share(t, decay_steps);
  if (cycle) done = step / (decay_steps * std::max(1.0, std::ceil(step / decay_steps)));
  return (initial - end) * std::pow(1 - done, power) + end;
}
void PolynomialDecay::check(Where where) const {
  check_decay(*this, where);
  require_finite(name, "end", end, where);
  require_positive(name, "power", power, where);
}

double PiecewiseConstant::at(int64_t t) const {
  const auto k = std::ranges::lower_bound(boundaries, t) - boundaries.begin();
  return values[static_cast<size_t>(k)];
}
void PiecewiseConstant::check(Where where) const {
  check_rising(name, "boundaries", boundaries, where);
  if (values.size() != boundaries.size() + 1)
    throw InvalidArgument(name,
                          fmt::format("one value more than boundaries is needed, got {} and {}",
                                      values.size(), boundaries.size()),
                          where);
  for (const double value : values) require_finite(name, "a value", value, where);
}

double MultiStepDecay::at(int64_t t) const {
  const auto k = std::ranges::upper_bound(milestones, t) - milestones.begin();
  return initial * std::pow(factor, static_cast<double>(k));
}
void MultiStepDecay::check(Where where) const {
  check_rising(name, "milestones", milestones, where);
  require_finite(name, "initial", initial, where);
  require_finite(name, "factor", factor, where);
}

double CosineDecay::at(int64_t t) const {
  const double done = periodic ? static_cast<double>(t) / decay_steps : share(t, decay_steps);
  return initial * ((1 - alpha) * half_cosine(done) + alpha);
}
void CosineDecay::check(Where where) const {
  check_decay(*this, where);
  require_finite(name, "alpha", alpha, where);
}

double LinearCosineDecay::at(int64_t t) const {
  const double done = share(t, decay_steps);
  double noise = 0;
  if (initial_variance > 0) {
    const double now = std::min(static_cast<double>(t), decay_steps);
    const RandomStream random(Seed{static_cast<uint64_t>(seed)}, stream_of(name));
    noise = std::sqrt(initial_variance / std::pow(1 + now, variance_decay)) *
            random.normal(static_cast<uint64_t>(t));
  }
  return initial * ((alpha + (1 - done) + noise) * half_cosine(2 * num_periods * done) + beta);
}
void LinearCosineDecay::check(Where where) const {
  check_decay(*this, where);
  require_finite(name, "num_periods", num_periods, where);
  require_finite(name, "alpha", alpha, where);
  require_finite(name, "beta", beta, where);
  require(initial_variance >= 0 && std::isfinite(initial_variance), name, "initial_variance",
          "a finite number from 0 on", initial_variance, where);
  require_finite(name, "variance_decay", variance_decay, where);
}

}  // namespace rein
