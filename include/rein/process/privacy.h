// What training with clipped examples and noise gives away: an accountant in Renyi divergences.
#pragma once

#include <cstdint>
#include <span>

#include "rein/base/error.h"

namespace rein {

/// Steps of the subsampled Gaussian mechanism: each example is in a batch with probability
/// `sampling_rate`, independently of all others (Poisson sampling); to the sum of their gradients,
/// each clipped to a norm C, comes normal noise of deviation `noise_multiplier` C. Batches that are
/// cut from a shuffled list are not drawn like this, and what is computed here does not hold for
/// them.
struct PrivateSteps {
  double noise_multiplier = 0;
  double sampling_rate = 1;
  int64_t steps = 1;
};

/// The Renyi divergence of order `order` > 1 between one such step with and without an example:
/// log(A) / (order - 1), A the moment of Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), by section
/// 3.3 for integer and fractional orders. Infinite without noise. Throws InvalidArgument for a rate
/// outside [0, 1], a noise multiplier below 0 and an order that is not more than 1.
double subsampled_gaussian_rdp(double sampling_rate, double noise_multiplier, double order,
                               Where where = Where::here());

/// How a Renyi divergence r of order a becomes an epsilon.
enum class PrivacyConversion : uint8_t {
  balle,   // r + log(1 - 1 / a) - log(delta a) / (a - 1): Balle and others 2020 (arXiv 1905.09982)
  mironov  // r - log(delta) / (a - 1): Mironov 2017 (arXiv 1702.07476), never less; older papers
};

struct PrivacySpent {
  double epsilon = 0;
  double order = 0;  // which gave it
};
/// The least epsilon for which all these steps together are (epsilon, delta)-differentially
/// private, over the orders 1.1, 1.2 ... 10.9, 11, 12 ... 63, 128, 256, 512, 1024. "Together": the
/// divergences of one order add up. Throws InvalidArgument as above, and unless 0 < delta < 1.
///
///     PrivateSteps training{.noise_multiplier = 1.1, .sampling_rate = 0.004, .steps = 10000};
///     double epsilon = privacy_spent(training, 1e-5).epsilon;
PrivacySpent privacy_spent(std::span<const PrivateSteps> phases, double delta,
                           PrivacyConversion conversion = PrivacyConversion::balle,
                           Where where = Where::here());
PrivacySpent privacy_spent(const PrivateSteps& training, double delta,
                           PrivacyConversion conversion = PrivacyConversion::balle,
                           Where where = Where::here());

/// The least noise multiplier with which `steps` steps stay within epsilon; a little (1e-6 of it)
/// is added, so that they do. Throws InvalidArgument as above, and if epsilon is not more than 0 or
/// no noise up to 1e6 is enough.
double noise_multiplier_for(double epsilon, double delta, double sampling_rate, int64_t steps,
                            PrivacyConversion conversion = PrivacyConversion::balle,
                            Where where = Where::here());

}  // namespace rein
