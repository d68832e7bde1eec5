#include "rein/process/clip_advisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rein {
namespace {

constexpr double kRound[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10};

double power_of_ten_below(double number) { return std::pow(10, std::floor(std::log10(number))); }

double next_round(double number) {
  const double unit = power_of_ten_below(number);
  for (double r : kRound)
    if (r * unit > number * 1.05) return r * unit;
  return 15 * unit;
}

std::string percent(double share) {
  return (share >= 0.01 && share < 100) || share == 0 ? fmt::format("{:.0f} %", 100 * share)
                                                      : fmt::format("{:.2g} %", 100 * share);
}

// The limit above which lie the outliers alone; not the one that is there already.
double limit_for_outliers(const MonitorReport& r) {
  const double limit = round_limit(r.norm.p95);
  return r.limit && limit <= *r.limit * 1.05 ? next_round(*r.limit) : limit;
}

std::string to_limit(const MonitorReport& r) {
  if (r.limit) return fmt::format(" to {:.3g}", *r.limit);
  return r.only_scaled ? " to a limit that moves" : "";
}

std::vector<std::pair<std::string_view, double>> norms_of(const MonitorReport& r) {
  std::vector<std::pair<std::string_view, double>> all = {
      {"p50", r.norm.p50}, {"p95", r.norm.p95}, {"max", r.norm.max}, {"clip_rate", r.clip_rate}};
  if (r.limit) all.push_back({"limit", *r.limit});
  return all;
}

Advice on_non_finite(const MonitorReport& r) {
  const std::string place =
      r.last_non_finite.empty() ? "" : fmt::format(", the newest in '{}'", r.last_non_finite);
  return {.kind = AdviceKind::non_finite,
          .text = fmt::format(
              "{} of {} steps were not finite{}. No clip mends that: {}find the cause.",
              r.non_finite, r.window, place,
              r.skipped - r.skipped_finite >= r.non_finite ? "they were skipped; "
                                                           : "skip them (CheckFinite) and "),
          .variable = r.last_non_finite,
          .evidence = {{"non_finite", static_cast<double>(r.non_finite)},
                       {"skipped", static_cast<double>(r.skipped)},
                       {"window", static_cast<double>(r.window)}}};
}

Advice on_skips(const MonitorReport& r, int64_t finite) {
  return {.kind = AdviceKind::skips,
          .text = fmt::format(
              "{} of {} finite steps were skipped (p50 {:.3g}, p95 {:.3g}): they teach nothing. "
              "Skip less (skip_above of CheckFinite, loss_above of a Rollback), or clip instead.",
              r.skipped_finite, finite, r.norm.p50, r.norm.p95),
          .evidence = {{"skipped_finite", static_cast<double>(r.skipped_finite)},
                       {"finite", static_cast<double>(finite)},
                       {"p50", r.norm.p50},
                       {"p95", r.norm.p95}}};
}

Advice on_growth(const MonitorReport& r) {
  return {.kind = AdviceKind::growing,
          .text = fmt::format(
              "The norms grew {:.3g}-fold within {} steps (p50 {:.3g}, the last {:.3g}). Lower the "
              "learning rate: a clip slows that down, but does not end it.",
              r.trend, r.window, r.norm.p50, r.last_norm),
          .evidence = {{"trend", r.trend}, {"p50", r.norm.p50}, {"last", r.last_norm}}};
}

Advice on_tail(const MonitorReport& r) {
  Advice advice{.kind = AdviceKind::tail, .evidence = norms_of(r)};
  const std::string seen = fmt::format("The largest norm is {:.3g}, {:.0f} times the median",
                                       r.norm.max, r.norm.max / r.norm.p50);
  if (r.clip_rate > 0) {
    advice.text = seen + ". Such steps are what a clip is for: keep one.";
  } else {
    advice.clip_norm = round_limit(r.norm.p95);
    advice.text = fmt::format("{}, and nothing was clipped; try {:.3g} (p50 {:.3g}, p95 {:.3g}).",
                              seen, *advice.clip_norm, r.norm.p50, r.norm.p95);
  }
  return advice;
}

Advice on_clip_rate(const MonitorReport& r, const ClipAdvisor& rules) {
  Advice advice{.evidence = norms_of(r)};
  const std::string norms = fmt::format("p50 {:.3g}, p95 {:.3g}", r.norm.p50, r.norm.p95);
  if (r.clip_rate == 0) {
    advice.kind = AdviceKind::never_clips;
    advice.clip_norm = round_limit(2 * r.norm.max);
    advice.text = fmt::format(
        "{}, largest {:.3g}: none of {} steps was clipped. As a guard that costs nothing try "
        "{:.3g}.",
        norms, r.norm.max, r.window - r.skipped, *advice.clip_norm);
    return advice;
  }
  const std::string rate =
      fmt::format("{}, you clip {} of steps{}", norms, percent(r.clip_rate), to_limit(r));
  if (r.clip_rate < rules.often) {
    advice.kind = AdviceKind::clips_outliers;
    advice.text = rate + ": the outliers alone. Leave it.";
    return advice;
  }
  const bool always = r.clip_rate >= rules.always;
  advice.kind = always ? AdviceKind::clips_always : AdviceKind::clips_often;
  advice.clip_norm = limit_for_outliers(r);
  if (!r.limit && r.only_scaled)
    advice.text = fmt::format("{}; one that stays, for the outliers alone, is {:.3g}.", rate,
                              *advice.clip_norm);
  else if (!r.limit)
    advice.text = fmt::format(
        "{}, not to one global norm, which bends their direction; try ClipByGlobalNorm with "
        "{:.3g}.",
        rate, *advice.clip_norm);
  else if (always)
    advice.text =
        fmt::format("{}: steps of one length, so that the limit is a learning rate; try {:.3g}.",
                    rate, *advice.clip_norm);
  else
    advice.text = fmt::format("{}; try {:.3g}.", rate, *advice.clip_norm);
  return advice;
}

// ---------------------------------------------------------------- on one variable

// What shares are of: the norms of variables to this power add up.
std::string powered_norm(double order) {
  if (order == 1) return "global norm";
  return order == 2 ? "squared global norm" : fmt::format("global norm to the power {:.3g}", order);
}

Advice on_dominant(const VariableReport& v, double order) {
  return {
      .kind = AdviceKind::dominant_variable,
      .text = fmt::format("'{}' makes {} of the {} (p50 {:.3g}, largest {:.3g}): a global clip "
                          "shortens all others by its outliers. Clip it alone (ClipByNorm).",
                          v.name, percent(v.share), powered_norm(order), v.norm.p50, v.norm.max),
      .variable = v.name,
      .evidence = {{"share", v.share}, {"p50", v.norm.p50}, {"max", v.norm.max}}};
}

Advice on_idle(const VariableReport& v, int64_t window) {
  return {
      .kind = AdviceKind::idle_variable,
      .text = fmt::format("'{}' had no gradient in {} steps: the loss does not depend on it, or "
                          "what it leads to is saturated.",
                          v.name, window),
      .variable = v.name,
      .evidence = {{"window", static_cast<double>(window)}}};
}

Advice on_update(const VariableReport& v) {
  return {.kind = AdviceKind::large_update,
          .text = fmt::format("A step moves '{}' by {} of its length (0.1 % is usual). Lower the "
                              "learning rate.",
                              v.name, percent(*v.update50)),
          .variable = v.name,
          .evidence = {{"update50", *v.update50}}};
}

bool is_idle(const VariableReport& v) { return v.norm.max == 0 && v.non_finite == 0; }

void on_variables(const MonitorReport& r, const ClipAdvisor& rules, std::vector<Advice>& all) {
  if (std::ranges::count_if(r.variables, [](const auto& v) { return !is_idle(v); }) >= 3)
    for (const VariableReport& v : r.variables)
      if (v.share >= rules.dominant) all.push_back(on_dominant(v, r.order));
  for (const VariableReport& v : r.variables)
    if (is_idle(v)) all.push_back(on_idle(v, r.window));
  const VariableReport* most = nullptr;
  for (const VariableReport& v : r.variables)
    if (v.update50 && *v.update50 >= rules.large && (!most || *v.update50 > *most->update50))
      most = &v;
  if (most) all.push_back(on_update(*most));
}

// ---------------------------------------------------------------- inside the sequence

// By the state through which most of the gradient comes back.
void on_lags(const SequenceReport& s, const ClipAdvisor& rules, std::vector<Advice>& all) {
  const auto kept = [](const GradientByLag& state) {
    return state.by_lag.empty() ? 0 : state.by_lag.back();
  };
  const auto bad = std::ranges::find_if_not(
      s.states, [&](const auto& state) { return std::isfinite(kept(state)); });
  const auto most = bad != s.states.end() ? bad : std::ranges::max_element(s.states, {}, kept);
  if (most == s.states.end() || most->by_lag.size() < 2) return;
  const size_t steps = most->by_lag.size() - 1;
  const bool vanishes = kept(*most) <= rules.vanishes;
  if (!vanishes && kept(*most) < rules.explodes) return;
  if (!std::isfinite(kept(*most))) {
    all.push_back(
        {.kind = AdviceKind::exploding,
         .text = fmt::format("Gradients are not finite on their way back through {} time "
                             "steps, by '{}': weights or inputs have exploded. Go back to "
                             "healthy weights, with a clip and a lower learning rate.",
                             steps, most->state),
         .evidence = {{"kept", kept(*most)}, {"time_steps", static_cast<double>(steps)}}});
    return;
  }
  const std::string seen = fmt::format(
      "{:.3g} of the gradient is left after {} time steps ({:.3g} times a step, through '{}')",
      kept(*most), steps, most->factor(), most->state);
  all.push_back(
      {.kind = vanishes ? AdviceKind::vanishing : AdviceKind::exploding,
       .text = seen + (vanishes ? ": the first ones teach nothing, and no clip mends that. Begin "
                                  "with a larger forget_bias, or shorten the sequence."
                                : ": it explodes on its way back. Clip the global norm, or at "
                                  "every time step (StepClip), and lower the learning rate."),
       .evidence = {{"kept", kept(*most)},
                    {"time_steps", static_cast<double>(steps)},
                    {"factor", most->factor()}}});
}

void on_gates(const SequenceReport& s, const ClipAdvisor& rules, std::vector<Advice>& all) {
  for (const GateReport& gate : s.gates) {
    const double share = gate.is_tanh ? gate.closed + gate.open : gate.closed;
    if (!(share >= rules.closes)) continue;
    all.push_back(
        {.kind = AdviceKind::closed_gate,
         .text = fmt::format("{} of the activations of gate '{}' {}", percent(share), gate.name,
                             gate.is_tanh ? "are at -1 or 1, where their gradient is gone. Scale "
                                            "the inputs down, or lower the learning rate."
                                          : "are closed: neither numbers nor gradients come "
                                            "through. Lower the learning rate, or begin with "
                                            "another bias."),
         .variable = gate.name,
         .evidence = {{"share", share}, {"mean", gate.mean}}});
  }
}

}  // namespace

double round_limit(double number) {
  if (!(number > 0) || !std::isfinite(number)) return 0;
  const double unit = power_of_ten_below(number);
  const auto distance = [&](double r) { return std::abs(std::log(r * unit / number)); };
  return *std::ranges::min_element(kRound, {}, distance) * unit;
}

std::vector<Advice> ClipAdvisor::advise(const MonitorReport& r) const {
  std::vector<Advice> all;
  if (r.non_finite > 0) all.push_back(on_non_finite(r));
  const int64_t finite = r.window - r.non_finite;
  if (finite < fewest) {
    all.push_back({.kind = AdviceKind::too_few_steps,
                   .text = fmt::format("{} finite steps are too few to judge; ask again after {}.",
                                       finite, fewest),
                   .evidence = {{"finite", static_cast<double>(finite)}}});
    return all;
  }
  if (r.norm.max == 0) {
    all.push_back({.kind = AdviceKind::no_gradient,
                   .text = fmt::format("All gradients of {} steps are 0.", finite),
                   .evidence = {{"finite", static_cast<double>(finite)}}});
    return all;
  }
  if (r.skipped_finite > 0 &&
      static_cast<double>(r.skipped_finite) >= skips * static_cast<double>(finite))
    all.push_back(on_skips(r, finite));
  if (r.trend >= growth) all.push_back(on_growth(r));
  const bool has_tail = r.norm.p50 > 0 && r.norm.max >= tail * r.norm.p50;
  const bool acted = r.skipped_finite < finite;
  if (has_tail && acted) all.push_back(on_tail(r));
  if (acted && (!has_tail || r.clip_rate > 0)) all.push_back(on_clip_rate(r, *this));
  on_variables(r, *this, all);
  if (r.sequence) {
    on_lags(*r.sequence, *this, all);
    on_gates(*r.sequence, *this, all);
  }
  return all;
}

}  // namespace rein
