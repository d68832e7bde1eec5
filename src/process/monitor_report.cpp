#include "rein/process/monitor_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "process/monitor_record.h"

namespace rein {
namespace {

double quantile(std::span<const double> sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

double median(std::span<const double> numbers) { return quantiles_of(numbers).p50; }

template <class Count>
double share(Count part, size_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

int64_t count_of(std::span<const double> numbers, auto&& condition) {
  return std::ranges::count_if(numbers, condition);
}
bool is_set(double flag) { return flag != 0; }
bool is_finite(double number) { return std::isfinite(number); }
bool is_not_finite(double number) { return !std::isfinite(number); }

}  // namespace

Quantiles quantiles_of(std::span<const double> numbers) {
  std::vector<double> sorted;
  std::ranges::copy_if(numbers, std::back_inserter(sorted), is_finite);
  if (sorted.empty()) return {};
  std::ranges::sort(sorted);
  return {.p05 = quantile(sorted, 0.05),
          .p50 = quantile(sorted, 0.5),
          .p95 = quantile(sorted, 0.95),
          .p99 = quantile(sorted, 0.99),
          .max = sorted.back()};
}

namespace {

// The norm that all clipped steps have afterwards, if it is one: up to a float's rounding. A step
// that was not finite before or was skipped does not count.
std::optional<double> common_limit(std::span<const double> before, std::span<const double> after,
                                   std::span<const double> clipped,
                                   std::span<const double> skipped) {
  std::optional<double> limit;
  for (size_t k = 0; k < after.size(); ++k) {
    if (clipped[k] == 0 || skipped[k] != 0) continue;
    if (!std::isfinite(before[k]) || !std::isfinite(after[k])) continue;
    if (!limit) limit = after[k];
    if (std::abs(after[k] - *limit) > 1e-6 * *limit) return {};
  }
  return limit;
}

// Of the steps that were not skipped those that are chosen.
double rate_of(std::span<const double> skipped, auto&& chosen) {
  size_t some = 0, all = 0;
  for (size_t k = 0; k < skipped.size(); ++k) {
    if (skipped[k] != 0) continue;
    ++all;
    some += chosen(k) ? 1 : 0;
  }
  return share(some, all);
}

double trend_of(const Rings& rings, size_t series) {
  const size_t quarter = rings.count() / 4;
  if (quarter == 0) return 1;
  std::vector<double> newest, oldest;
  for (size_t k = 0; k < quarter; ++k) {
    newest.push_back(rings.at(series, k));
    oldest.push_back(rings.at(series, rings.count() - 1 - k));
  }
  const double then = median(oldest);
  return then > 0 ? median(newest) / then : 1;
}

}  // namespace

MonitorReport Monitor::report() const {
  const Record& r = *record_;
  const Rings& s = r.of_steps;
  using R = Record;
  MonitorReport report;
  report.steps = r.steps;
  report.window = static_cast<int64_t>(s.count());
  report.compared_step = r.compared;
  report.sequence = r.sequence;
  report.sequence_step = r.sequence_step;
  if (s.count() == 0) return report;
  report.norm = quantiles_of(s.of(R::kBefore));
  report.clipped_norm = quantiles_of(s.of(R::kAfter));
  report.last_norm = s.at(R::kBefore, 0);
  report.last_clipped_norm = s.at(R::kAfter, 0);
  report.order = r.before.order;
  const auto all = s.of(R::kBefore), clipped = s.of(R::kClipped), bent = s.of(R::kBent),
             skipped = s.of(R::kSkipped), bad = s.of(R::kNonFinite), where = s.of(R::kWhere);
  report.clip_rate = rate_of(skipped, [&](size_t k) { return is_set(clipped[k]); });
  report.only_scaled = rate_of(skipped, [&](size_t k) { return is_set(bent[k]); }) == 0;
  // Of one variable alone a clip by its own norm is one by the global norm.
  if (report.only_scaled || r.names.size() == 1)
    report.limit = common_limit(all, s.of(R::kAfter), clipped, skipped);
  report.trend = trend_of(s, R::kBefore);
  report.non_finite = count_of(bad, is_set);
  report.skipped = count_of(skipped, is_set);
  for (size_t k = 0; k < s.count(); ++k)
    report.skipped_finite += is_set(skipped[k]) && !is_set(bad[k]);

  for (size_t i = 0; i < r.names.size(); ++i) {
    const auto before = r.befores.of(i), after = r.afters.of(i);
    VariableReport v{
        .name = r.names[i], .norm = quantiles_of(before), .clipped_norm = quantiles_of(after)};
    v.last_norm = r.befores.at(i, 0);
    v.last_clipped_norm = r.afters.at(i, 0);
    std::vector<double> shares;
    for (size_t k = 0; k < before.size(); ++k) {
      if (all[k] > 0) shares.push_back(std::pow(before[k] / all[k], report.order));
      v.non_finite += is_not_finite(before[k]) || where[k] == static_cast<double>(i + 1);
    }
    v.clip_rate = rate_of(skipped, [&](size_t k) { return after[k] < before[k]; });
    if (std::isfinite(report.order)) v.share = median(shares);  // the largest has no parts
    if (r.updates.count() > 0) {
      v.update = r.updates.at(i, 0);
      if (std::ranges::any_of(r.updates.of(i), is_finite)) v.update50 = median(r.updates.of(i));
    }
    report.variables.push_back(std::move(v));
  }
  for (size_t age = 0; age < s.count(); ++age) {
    if (s.at(R::kNonFinite, age) == 0) continue;
    if (const auto at = static_cast<size_t>(s.at(R::kWhere, age)))
      report.last_non_finite = r.names[at - 1];
    break;
  }
  return report;
}

namespace {

void add_line(std::string& text, std::string_view name, const Quantiles& before,
              const Quantiles& after, double clip_rate, const std::optional<double>& update) {
  text += fmt::format("{:<32} {:>10.3g} {:>10.3g} {:>10.3g} {:>10.3g} {:>7.0f}% {:>8}\n", name,
                      before.p50, before.p95, before.max, after.p50, 100 * clip_rate,
                      update ? fmt::format("{:.2g}", *update) : "-");
}

}  // namespace

std::string to_string(const MonitorReport& report) {
  std::string text = fmt::format("{:<32} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}\n",
                                 fmt::format("{} of {} steps", report.window, report.steps), "p50",
                                 "p95", "max", "p50 after", "clipped", "update");
  add_line(text, "all", report.norm, report.clipped_norm, report.clip_rate, {});
  for (const VariableReport& v : report.variables)
    add_line(text, v.name, v.norm, v.clipped_norm, v.clip_rate, v.update50);
  if (report.non_finite > 0)
    text += fmt::format("{} steps not finite{}\n", report.non_finite,
                        report.last_non_finite.empty()
                            ? ""
                            : fmt::format(", the newest in '{}'", report.last_non_finite));
  if (report.sequence)
    text += fmt::format("after {} steps:\n{}", report.sequence_step, to_string(*report.sequence));
  return text;
}

}  // namespace rein
