#include "rein/process/privacy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "process/check.h"

namespace rein {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kPi = 3.14159265358979323846;

// exp(logarithm), or minus that.
struct Term {
  double logarithm;
  double sign;
};

double log_of_sum(std::span<const Term> terms) {
  double most = -kInfinity;
  for (const Term& t : terms) most = std::max(most, t.logarithm);
  double sum = 0;
  for (const Term& t : terms) sum += t.sign * std::exp(t.logarithm - most);
  return most + std::log(sum);
}

double log_erfc(double x) {
  if (x < 25) return std::log(std::erfc(x));
  const double y = 1 / (x * x);  // where erfc is near the least double: its asymptotic series
  return -x * x - std::log(x * std::sqrt(kPi)) + std::log1p(y * (-0.5 + y * (0.75 - 1.875 * y)));
}

// log(exp(x) - 1) for x > 0
double log_expm1(double x) { return x > 40 ? x : std::log(std::expm1(x)); }

// Of an integer order, A = sum over k of binomial(order, k) q^k (1 - q)^(order - k)
// exp((k^2 - k) / 2 s^2). Without the exponential it is 1; so A - 1 is a sum of positive numbers,
// and exact even where it is tiny.
double log_moment(double q, double s, int order) {
  std::vector<Term> terms;
  double log_binomial = std::log(order);  // of k = 1, whose term is 0
  for (int k = 2; k <= order; ++k) {
    log_binomial += std::log(order - k + 1) - std::log(k);
    terms.push_back({log_binomial + k * std::log(q) + (order - k) * std::log1p(-q) +
                         log_expm1((k * k - k) / (2 * s * s)),
                     1});
  }
  const double rest = log_of_sum(terms);
  return rest > 40 ? rest : std::log1p(std::exp(rest));
}

// Of any order: the integral is cut at z, where both densities are equal; each half is a binomial
// series. Its terms shrink and change sign from the order on, so half of the last one is a better
// guess at the rest than nothing.
double log_moment(double q, double s, double order) {
  const double log_q = std::log(q), log_rest = std::log1p(-q);
  const double z = s * s * (log_rest - log_q) + 0.5;
  const double root = std::sqrt(2.0) * s;
  const auto half = [&](double k, double edge) {  // both halves, k the power of q
    return k * log_q + (order - k) * log_rest + (k * k - k) / (2 * s * s) + log_erfc(edge) -
           std::log(2.0);
  };
  std::vector<Term> terms;
  double log_binomial = 0, sign = 1, most = -kInfinity;
  for (double i = 0;; ++i) {
    const double k = order - i;
    const double low = log_binomial + half(i, (i - z) / root);
    const double high = log_binomial + half(k, (z - k) / root);
    most = std::max({most, low, high});
    const bool last = i > order && std::max(low, high) < most - 32;
    const double factor = last ? std::log(0.5) : 0;
    terms.insert(terms.end(), {{low + factor, sign}, {high + factor, sign}});
    if (last) break;
    log_binomial += std::log(std::abs(k)) - std::log(i + 1);
    if (k < 0) sign = -sign;
  }
  return log_of_sum(terms);
}

std::vector<double> orders() {
  std::vector<double> all;
  for (int i = 1; i < 100; ++i) all.push_back(1 + i / 10.0);
  for (int i = 11; i < 64; ++i) all.push_back(i);
  all.insert(all.end(), {128, 256, 512, 1024});
  return all;
}

double epsilon_of(double rdp, double order, double delta, PrivacyConversion conversion) {
  const double epsilon = conversion == PrivacyConversion::mironov
                             ? rdp - std::log(delta) / (order - 1)
                             : rdp + std::log1p(-1 / order) - std::log(delta * order) / (order - 1);
  return std::isnan(epsilon) ? kInfinity : std::max(0.0, epsilon);
}

void check(std::string_view op, double sampling_rate, double noise_multiplier, Where where) {
  check_range(op, "sampling_rate", sampling_rate, 0, 1, where);
  check_range(op, "noise_multiplier", noise_multiplier, 0, 1e300, where);
}

void check_delta(std::string_view op, double delta, Where where) {
  if (!(delta > 0 && delta < 1))
    throw InvalidArgument(op, fmt::format("delta is {}; it must be between 0 and 1", delta), where);
}

void check_steps(std::string_view op, int64_t steps, Where where) {
  if (steps < 0) throw InvalidArgument(op, fmt::format("steps is {}", steps), where);
}

}  // namespace

double subsampled_gaussian_rdp(double sampling_rate, double noise_multiplier, double order,
                               Where where) {
  constexpr std::string_view op = "subsampled_gaussian_rdp";
  check(op, sampling_rate, noise_multiplier, where);
  if (!(order > 1 && std::isfinite(order)))
    throw InvalidArgument(op, fmt::format("order is {}; it must be more than 1", order), where);
  if (sampling_rate == 0) return 0;
  // Beyond this exponents are no longer exact to a unit.
  if (!(order * order / (2 * noise_multiplier * noise_multiplier) < 1e15)) return kInfinity;
  if (sampling_rate == 1) return order / (2 * noise_multiplier * noise_multiplier);
  const bool whole = order == std::floor(order) && order <= 4096;
  if (!whole) {
    const double log_a = log_moment(sampling_rate, noise_multiplier, order);
    // Less drowns in the rounding of terms near 1. The next whole order is exact, and no less.
    if (log_a > 1e-10 || order > 4096) return std::max(0.0, log_a) / (order - 1);
  }
  const double next = std::ceil(order);
  return log_moment(sampling_rate, noise_multiplier, static_cast<int>(next)) / (next - 1);
}

PrivacySpent privacy_spent(std::span<const PrivateSteps> phases, double delta,
                           PrivacyConversion conversion, Where where) {
  constexpr std::string_view op = "privacy_spent";
  check_delta(op, delta, where);
  for (const PrivateSteps& p : phases) {
    check(op, p.sampling_rate, p.noise_multiplier, where);
    check_steps(op, p.steps, where);
  }
  if (std::ranges::all_of(
          phases, [](const PrivateSteps& p) { return p.steps == 0 || p.sampling_rate == 0; }))
    return {};
  PrivacySpent least{.epsilon = kInfinity, .order = 0};
  for (const double order : orders()) {
    double rdp = 0;
    for (const PrivateSteps& p : phases)
      if (p.steps > 0)
        rdp += static_cast<double>(p.steps) *
               subsampled_gaussian_rdp(p.sampling_rate, p.noise_multiplier, order, where);
    const double epsilon = epsilon_of(rdp, order, delta, conversion);
    if (epsilon < least.epsilon) least = {epsilon, order};
  }
  return least;
}

PrivacySpent privacy_spent(const PrivateSteps& training, double delta, PrivacyConversion conversion,
                           Where where) {
  return privacy_spent(std::span(&training, 1), delta, conversion, where);
}

double noise_multiplier_for(double epsilon, double delta, double sampling_rate, int64_t steps,
                            PrivacyConversion conversion, Where where) {
  constexpr std::string_view op = "noise_multiplier_for";
  if (!(epsilon > 0))
    throw InvalidArgument(op, fmt::format("epsilon is {}; it must be more than 0", epsilon), where);
  check_delta(op, delta, where);
  check_range(op, "sampling_rate", sampling_rate, 0, 1, where);
  check_steps(op, steps, where);
  const auto enough = [&](double noise) {
    return privacy_spent({noise, sampling_rate, steps}, delta, conversion, where).epsilon <=
           epsilon;
  };
  if (enough(0)) return 0;
  double low = 0, high = 1;
  while (!enough(high)) {
    low = high;
    high *= 2;
    if (high > 1e6)
      throw InvalidArgument(
          op, fmt::format("no noise is enough for epsilon {} at delta {}", epsilon, delta), where);
  }
  while (high - low > 1e-6 * high) {
    const double middle = (low + high) / 2;
    (enough(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace rein
