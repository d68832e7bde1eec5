#include "rein/process/clip_by_history.h"

#include <algorithm>
#include <cmath>

#include "process/check.h"
#include "process/measured.h"

namespace rein {

static_assert(Transform<AutoClip> && Transform<ZClip> && Transform<AdaptiveClipping> &&
              Transform<AdaGC>);

namespace {

constexpr double kMost = std::numeric_limits<double>::max();

// Of sorted numbers, interpolated.
double percentile_of(std::span<const double> sorted, double percentile) {
  const double place = percentile / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

// Into a ring that is not full yet, or in place of the oldest.
void write(std::vector<double>& ring, int64_t place, double value) {
  if (place < std::ssize(ring))
    ring[static_cast<size_t>(place)] = value;
  else
    ring.push_back(value);
}

// Brings a ring that was saved with another window to this one: its newest, the oldest first. A
// file may say anything of `next`.
void fit(std::vector<double>& ring, int64_t& next, int64_t window) {
  const int64_t size = std::ssize(ring);
  next = std::clamp<int64_t>(next, 0, size == window ? window - 1 : size);
  if (size == window || (size < window && next == size)) return;
  std::rotate(ring.begin(), ring.begin() + next % std::max<int64_t>(size, 1), ring.end());
  ring.erase(ring.begin(), ring.begin() + std::max<int64_t>(size - window, 0));
  next = std::ssize(ring) % window;
}

}  // namespace

// ---------------------------------------------------------------- AutoClip

AutoClip::State AutoClip::init(const Variables& variables) const {
  check_range(name, "percentile", percentile, 0, 100);
  check_range(name, "window", static_cast<double>(window), 1, 1e7);
  State state;
  state.recent.reserve(static_cast<size_t>(window));
  state.sorted.reserve(static_cast<size_t>(window));
  state.norms = Norms(variables, 2, shards, name);
  return state;
}

void AutoClip::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    state.coming = norm;
    if (!std::isfinite(norm)) return 1;
    state.sorted = state.recent;
    int64_t next = state.next;
    fit(state.sorted, next, window);
    write(state.sorted, next, norm);
    std::ranges::sort(state.sorted);
    return scale_to(norm, percentile_of(state.sorted, percentile));
  });
}

void AutoClip::remember(State& state) const {
  if (!std::isfinite(state.coming)) return;
  fit(state.recent, state.next, window);
  write(state.recent, state.next, state.coming);
  state.next = (state.next + 1) % window;
}

// ---------------------------------------------------------------- ZClip

std::string_view to_string(ZClipForm form) {
  return form == ZClipForm::adaptive ? "adaptive" : form == ZClipForm::mean ? "mean" : "fixed";
}

ZClip::State ZClip::init(const Variables& variables) const {
  check_range(name, "alpha", alpha, 0, 1);
  check_range(name, "z_threshold", z_threshold, 0, kMost);
  check_threshold(name, max_norm, Semantics::safe, Where{}, "max_norm");
  check_range(name, "warmup", static_cast<double>(warmup), 1, 1e15);
  check_range(name, "epsilon", epsilon, 0, kMost);
  State state;
  state.norms = Norms(variables, 2, shards, name);
  return state;
}

namespace {

// The norm that an outlier is shortened to; any other stays.
double without_outlier(const ZClip& clip, const ZClip::History& history, double norm) {
  const double deviation = std::sqrt(history.variance);
  const double highest = history.mean + clip.z_threshold * deviation;
  if (clip.form == ZClipForm::fixed) return std::min(norm, highest);
  const double z = (norm - history.mean) / (deviation + clip.epsilon);
  if (!(z > clip.z_threshold)) return norm;
  if (clip.form == ZClipForm::mean) return history.mean;
  return history.mean + clip.z_threshold * deviation * clip.z_threshold / z;
}

}  // namespace

void ZClip::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  History& h = state.coming = state.history;
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    if (!std::isfinite(norm)) return 1;
    double left = norm;
    if (h.seen < warmup) {
      const double count = static_cast<double>(++h.seen), before = norm - h.mean;
      h.mean += before / count;
      h.variance += before * (norm - h.mean);
      if (h.seen == warmup) h.variance /= count;
    } else {
      left = without_outlier(*this, h, norm);
      h.mean = alpha * h.mean + (1 - alpha) * left;
      const double apart = left - h.mean;
      h.variance = alpha * h.variance + (1 - alpha) * apart * apart;
    }
    return scale_to(norm, std::min(left, max_norm));
  });
}

void ZClip::remember(State& state) const { state.history = state.coming; }

// ---------------------------------------------------------------- moving averages of the logarithm

AdaptiveClipping::State AdaptiveClipping::init(const Variables& variables) const {
  check_range(name, "std_factor", std_factor, 0, kMost);
  check_range(name, "decay", decay, 0, 1);
  check_threshold(name, static_max_norm, Semantics::safe, Where{}, "static_max_norm");
  check_range(name, "epsilon", epsilon, std::numeric_limits<double>::min(), kMost);
  State state;
  state.norms = Norms(variables, 2, shards, name);
  return state;
}

void AdaptiveClipping::update(Gradients& gradients, State& state, const Variables&,
                              StepInfo& info) const {
  History& h = state.coming = state.history;
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    if (!std::isfinite(norm)) return 1;
    const auto t = static_cast<double>(h.seen++);
    const double keep = quick_start ? std::min(decay, t / (t + 1)) : decay;
    const double log = std::log(norm + epsilon);
    h.mean = keep * h.mean + (1 - keep) * log;
    h.square = keep * h.square + (1 - keep) * log * log;
    const double variance = std::max(epsilon, h.square - h.mean * h.mean);
    const double highest = std::exp(h.mean + std_factor * std::sqrt(variance));
    const double limit = norm < highest ? norm : std::exp(h.mean);
    return scale_to(norm, std::min(limit, static_max_norm));
  });
}

void AdaptiveClipping::remember(State& state) const { state.history = state.coming; }

// ---------------------------------------------------------------- AdaGC

AdaGC::State AdaGC::init(const Variables& variables) const {
  check_range(name, "lambda_rel", lambda_rel, 0, kMost);
  check_threshold(name, lambda_abs, Semantics::safe, Where{}, "lambda_abs");
  check_range(name, "beta", beta, 0, 1);
  check_range(name, "warmup", static_cast<double>(warmup), 1, 1e15);
  State state;
  state.gamma.assign(variables.size(), -1);
  state.norms = Norms(variables, 2, shards, name);
  return state;
}

namespace {

bool is_warming_up(const AdaGC& clip, const AdaGC::State& state) {
  return state.step + 1 < clip.warmup;
}

}  // namespace

void AdaGC::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  std::vector<double>& norms = state.norms.of_variable;
  if (is_warming_up(*this, state)) {
    double factor = 1;
    clip_together(gradients, state.norms, info,
                  [&](double norm) { return factor = scale_to(norm, lambda_abs); });
    for (double& norm : norms) norm *= factor;
  } else {
    clip_each(gradients, state.norms, info, [&](size_t i) {
      const bool met = i < state.gamma.size() && state.gamma[i] >= 0;
      return met ? lambda_rel * state.gamma[i] : std::numeric_limits<double>::infinity();
    });
  }
}

void AdaGC::remember(State& state) const {
  const bool warm = is_warming_up(*this, state);
  const std::vector<double>& norms = state.norms.of_variable;  // after clipping
  ++state.step;
  state.gamma.resize(norms.size(), -1);  // of variables that a saved state did not have
  for (size_t i = 0; i < norms.size(); ++i) {
    if (!(norms[i] > 0) || !std::isfinite(norms[i])) continue;  // absent, 0, or not to be trusted
    double& gamma = state.gamma[i];
    if (gamma < 0)
      gamma = norms[i];
    else
      gamma = warm ? std::min(gamma, norms[i]) : beta * gamma + (1 - beta) * norms[i];
  }
}

}  // namespace rein
