#include "rein/process/scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "process/check.h"
#include "process/gradient_numbers.h"
#include "process/measured.h"
#include "process/noise.h"
#include "process/patterns.h"
#include "rein/base/random.h"

namespace rein {

static_assert(Transform<Scale> && Transform<Multiply> && Transform<Normalize> &&
              Transform<AddNoise> && Transform<ZeroNans>);

namespace {

int64_t step_of(const StepInfo& info) { return std::max<int64_t>(info.step - 1, 0); }

}  // namespace

void Scale::update(Gradients& gradients, State&, const Variables&, StepInfo& info) const {
  gradients.scale *= factor.at(step_of(info));
}

// ---------------------------------------------------------------- multipliers

Multiply::State Multiply::init(const Variables& variables) const {
  std::vector<std::string_view> patterns;
  for (const Multiplier& m : multipliers) patterns.push_back(m.pattern);
  return {first_matches(name, patterns, variables), std::vector<double>(multipliers.size() + 1, 1)};
}

void Multiply::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  for (size_t k = 0; k < multipliers.size(); ++k)
    state.factors[k] = multipliers[k].factor.at(step_of(info));
  scale_each(gradients, [&](size_t i) { return state.factors[state.which[i]]; });
}

// ---------------------------------------------------------------- normalising

namespace {

double length_at(const Threshold& norm, const StepInfo& info) {
  const double length = norm.at(info);
  check_range(Normalize::name, "norm", length, 0, 1e300);
  return length;
}

}  // namespace

Normalize::State Normalize::init(const Variables& variables) const {
  if (norm.is_constant()) length_at(norm, {});
  check_range(name, "epsilon", epsilon, 0, 1e300);
  return Norms(variables, 2, shards, name);
}

void Normalize::update(Gradients& gradients, State& norms, const Variables&, StepInfo& info) const {
  const double wanted = length_at(norm, info);
  const auto factor = [&](double own) {
    const double f = wanted / (own + epsilon);
    return own > 0 && std::isfinite(own) && std::isfinite(f) ? f : 1;
  };
  if (!per_variable) {
    const bool clipped = info.clipped;
    clip_together(gradients, norms, info, factor);
    info.clipped = clipped;
    return;
  }
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double before = norms.global();
  scale_each(gradients, [&](size_t i) { return factor(norms.of_variable[i]); });
  for (double& own : norms.of_variable) own *= factor(own);
  record_norms(info, before, norms.global());
}

// ---------------------------------------------------------------- noise

AddNoise::State AddNoise::init(const Variables& variables) const {
  check_range(name, "eta", eta, 0, 1e300);
  check_range(name, "gamma", gamma, 0, 1e300);
  State state;
  for (const auto& entry : variables.layout().entries)
    state.streams.push_back(stream_of(entry.name));
  return state;
}

void AddNoise::update(Gradients& gradients, State& state, const Variables&, StepInfo&) const {
  need_whole(name, gradients);
  const double deviation = std::sqrt(eta / std::pow(1 + static_cast<double>(state.step), gamma));
  gradients.merge_duplicates();
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    add_normal<T>(
        gradients, Seed{static_cast<uint64_t>(seed)}, [&](size_t i) { return state.streams[i]; },
        state.step, deviation);
  });
}

void AddNoise::remember(State& state) const { ++state.step; }

// ---------------------------------------------------------------- NaN

namespace {

template <class T>
bool without_nans(std::span<T> x) {
  bool found = false;
  for (T& v : x) {
    found |= v != v;
    v = v == v ? v : T{0};
  }
  return found;
}

}  // namespace

ZeroedNans zero_nans(std::span<const Gradient> gradients) {
  ZeroedNans result;
  for (const Gradient& g : gradients) {
    result.gradients.push_back(g);
    result.found.push_back(0);
    if (!g || !is_floating(g.values().dtype())) continue;
    Tensor out = g.values().clone();
    result.found.back() = visit_float(
        out.dtype(), [&](auto zero) { return without_nans(out.flat<decltype(zero)>()); });
    if (result.found.back()) result.gradients.back() = g.with_values(std::move(out));
  }
  return result;
}

ZeroNans::State ZeroNans::init(const Variables& variables) const {
  return {std::vector<char>(variables.size())};
}

void ZeroNans::update(Gradients& gradients, State& state, const Variables&, StepInfo& info) const {
  std::ranges::fill(state.found, char{0});
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
      if (without_nans(x)) std::atomic_ref(state.found[i]).store(1, std::memory_order_relaxed);
    });
  });
  const auto first = std::ranges::find(state.found, 1);
  if (first == state.found.end()) return;
  info.finite = false;
  if (info.non_finite.empty())
    info.non_finite = gradients.name(static_cast<size_t>(first - state.found.begin()));
}

}  // namespace rein
