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

}  // namespace

// ---------------------------------------------------------------- AutoClip

AutoClip::State AutoClip::init(const Variables& variables) const {
  check_range(name, "percentile", percentile, 0, 100);
  check_range(name, "window", static_cast<double>(window), 1, 1e7);
  State state;
  state.recent.reserve(static_cast<size_t>(window));
  state.sorted.reserve(static_cast<size_t>(window));
  state.norms = Norms(variables);
  return state;
}

void AutoClip::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    if (!std::isfinite(norm)) return 1;
    // A window that has become smaller since the state was saved.
    if (std::ssize(state.recent) > window) state.recent.resize(static_cast<size_t>(window));
    state.next %= window;
    const auto at = static_cast<size_t>(state.next);
    if (at < state.recent.size())
      state.recent[at] = norm;
    else
      state.recent.push_back(norm);
    state.next = (state.next + 1) % window;
    state.sorted.assign(state.recent.begin(), state.recent.end());
    std::ranges::sort(state.sorted);
    return scale_to(norm, percentile_of(state.sorted, percentile));
  });
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
  state.norms = Norms(variables);
  return state;
}

namespace {

// The norm that an outlier is shortened to; any other stays.
double without_outlier(const ZClip& clip, const ZClip::State& state, double norm) {
  const double deviation = std::sqrt(state.variance);
  const double highest = state.mean + clip.z_threshold * deviation;
  if (clip.form == ZClipForm::fixed) return std::min(norm, highest);
  const double z = (norm - state.mean) / (deviation + clip.epsilon);
  if (!(z > clip.z_threshold)) return norm;
  if (clip.form == ZClipForm::mean) return state.mean;
  return state.mean + clip.z_threshold * deviation * clip.z_threshold / z;
}

}  // namespace

void ZClip::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    if (!std::isfinite(norm)) return 1;
    double left = norm;
    if (state.seen < warmup) {
      const double count = static_cast<double>(++state.seen), before = norm - state.mean;
      state.mean += before / count;
      state.variance += before * (norm - state.mean);
      if (state.seen == warmup) state.variance /= count;
    } else {
      left = without_outlier(*this, state, norm);
      state.mean = alpha * state.mean + (1 - alpha) * left;
      const double apart = left - state.mean;
      state.variance = alpha * state.variance + (1 - alpha) * apart * apart;
    }
    return scale_to(norm, std::min(left, max_norm));
  });
}

// ---------------------------------------------------------------- moving averages of the logarithm

AdaptiveClipping::State AdaptiveClipping::init(const Variables& variables) const {
  check_range(name, "std_factor", std_factor, 0, kMost);
  check_range(name, "decay", decay, 0, 1);
  check_threshold(name, static_max_norm, Semantics::safe, Where{}, "static_max_norm");
  check_range(name, "epsilon", epsilon, std::numeric_limits<double>::min(), kMost);
  State state;
  state.norms = Norms(variables);
  return state;
}

void AdaptiveClipping::update(Gradients& gradients, State& state, const Variables&,
                              StepInfo& info) const {
  clip_together(gradients, state.norms, info, [&](double norm) -> double {
    if (!std::isfinite(norm)) return 1;
    const auto t = static_cast<double>(state.seen++);
    const double keep = quick_start ? std::min(decay, t / (t + 1)) : decay;
    const double log = std::log(norm + epsilon);
    state.mean = keep * state.mean + (1 - keep) * log;
    state.square = keep * state.square + (1 - keep) * log * log;
    const double variance = std::max(epsilon, state.square - state.mean * state.mean);
    const double highest = std::exp(state.mean + std_factor * std::sqrt(variance));
    const double limit = norm < highest ? norm : std::exp(state.mean);
    return scale_to(norm, std::min(limit, static_max_norm));
  });
}

// ---------------------------------------------------------------- AdaGC

AdaGC::State AdaGC::init(const Variables& variables) const {
  check_range(name, "lambda_rel", lambda_rel, 0, kMost);
  check_threshold(name, lambda_abs, Semantics::safe, Where{}, "lambda_abs");
  check_range(name, "beta", beta, 0, 1);
  check_range(name, "warmup", static_cast<double>(warmup), 1, 1e15);
  State state;
  state.gamma.assign(variables.size(), -1);
  state.norms = Norms(variables);
  return state;
}

void AdaGC::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  const bool warm = ++state.step < warmup;
  state.gamma.resize(gradients.size(), -1);  // of variables that a saved state did not have
  std::vector<double>& norms = state.norms.of_variable;
  if (warm) {
    double factor = 1;
    clip_together(gradients, state.norms, info,
                  [&](double norm) { return factor = scale_to(norm, lambda_abs); });
    for (double& norm : norms) norm *= factor;
  } else {
    clip_each(gradients, state.norms, info, [&](size_t i) {
      return state.gamma[i] < 0 ? std::numeric_limits<double>::infinity()
                                : lambda_rel * state.gamma[i];
    });
  }
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
