// The accountant against published numbers, integrals and two other accountants.
#include "rein/process/privacy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/error_text.h"

namespace rein {
namespace {

// log(A) / (order - 1), A the integral of the normal density times
// (1 - q + q exp((2 z - 1) / 2 s^2))^order, by mpmath.quad with 40 digits.
TEST(SubsampledGaussian, DivergencesOfWholeAndFractionalOrders) {
  struct Row {
    double rate, noise, order, rdp;
  };
  for (const Row& r : {Row{0.01, 1, 1.1, 9.2414710846869575e-5},
                       {0.01, 1, 2.5, 0.00021757533228188045},
                       {0.1, 2, 7.3, 0.012204206046469148},
                       {0.9, 1, 3.5, 1.6154609654944321},
                       {0.001, 0.5, 10.9, 14.194491662534826},
                       {0.5, 1, 1.5, 0.23515803448253102},
                       {0.5, 3, 1.1, 0.015529092743406128},
                       {1e-4, 1, 1.9, 1.6323236404109718e-8}})
    // A near 1 is a sum of terms whose logarithms, themselves sums of numbers up to 10, are each
    // known to about 1e-15: log(A) to 1e-14.
    EXPECT_NEAR(subsampled_gaussian_rdp(r.rate, r.noise, r.order), r.rdp,
                1e-13 * r.rdp + 1e-14 / (r.order - 1))
        << r.rate << " " << r.noise << " " << r.order;
  EXPECT_DOUBLE_EQ(subsampled_gaussian_rdp(1, 2, 5.5), 0.6875);  // order / 2 s^2
  // Of whole orders: _compute_rdp_poisson_subsampled_gaussian of dp-accounting 0.6.0.
  EXPECT_NEAR(subsampled_gaussian_rdp(0.004, 0.7, 64), 59.69701929432589, 1e-12);
  EXPECT_NEAR(subsampled_gaussian_rdp(0.01, 4, 32), 0.00010526360659077987, 1e-15);
}

// A of order 2 is 1 + q^2 (exp(1 / s^2) - 1), however small q is.
TEST(SubsampledGaussian, OrderTwoIsItsClosedForm) {
  for (const double q : {1e-7, 1e-3, 0.5})
    for (const double s : {0.4, 1.0, 20.0})
      EXPECT_NEAR(subsampled_gaussian_rdp(q, s, 2), std::log1p(q * q * std::expm1(1 / (s * s))),
                  1e-13 * subsampled_gaussian_rdp(q, s, 2));
}

// The two ways to compute a moment meet. log A is convex in the order; over 2e-6 it is a straight
// line to 1e-9.
TEST(SubsampledGaussian, FractionalOrdersJoinWholeOnes) {
  for (const double q : {0.004, 0.2, 0.5, 0.97})
    for (const double s : {0.6, 1.0, 5.0})
      for (const double order : {2.0, 5.0, 20.0}) {
        const double around = (subsampled_gaussian_rdp(q, s, order - 1e-6) +
                               subsampled_gaussian_rdp(q, s, order + 1e-6)) /
                              2;
        EXPECT_NEAR(around, subsampled_gaussian_rdp(q, s, order), 1e-8 * around)
            << q << " " << s << " " << order;
      }
}

TEST(SubsampledGaussian, NothingSampledAndNoNoise) {
  EXPECT_EQ(subsampled_gaussian_rdp(0, 1, 2), 0);
  EXPECT_EQ(subsampled_gaussian_rdp(0.1, 0, 2), INFINITY);
}

// The table of TensorFlow Privacy's MNIST tutorial: batches of 256 of 60,000, delta 1e-5.
TEST(PrivacySpent, PublishedTableOfMnist) {
  struct Row {
    double noise;
    int64_t epochs;
    double epsilon;
  };
  for (const Row& r : {Row{1.3, 15, 1.19}, {1.1, 60, 3.01}, {0.7, 45, 7.10}}) {
    const PrivateSteps training{r.noise, 256.0 / 60000, r.epochs * 60000 / 256};
    EXPECT_NEAR(privacy_spent(training, 1e-5, PrivacyConversion::mironov).epsilon, r.epsilon, 0.005)
        << r.noise;
  }
}

// Opacus 1.6.0, accountants/analysis/rdp.py, with the same orders:
//
//     rdp = compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=orders)
//     get_privacy_spent(orders=orders, rdp=rdp, delta=delta)
TEST(PrivacySpent, AsAnotherAccountant) {
  struct Row {
    PrivateSteps training;
    double delta, epsilon, order;
  };
  for (const Row& r : {Row{{1.3, 250 / 60000.0, 3600}, 1e-5, 0.9422002181627518, 17},
                       {{1.1, 250 / 60000.0, 14400}, 1e-5, 2.561715715349935, 8.2},
                       {{0.7, 250 / 60000.0, 10800}, 1e-5, 6.232951456436993, 3.8},
                       {{4, 0.01, 10000}, 1e-5, 1.0354900660362476, 17},
                       {{0.6, 0.001, 20000}, 1e-6, 4.5784572665130066, 4.3},
                       {{2, 0.1, 100}, 1e-5, 2.5805688086608938, 7.6},
                       {{10, 1, 50}, 1e-6, 3.54236123162173, 7.9},
                       {{3, 0.5, 10}, 1e-5, 2.600896560633951, 7.6},
                       {{30, 0.02, 1000}, 1e-6, 0.0857567511918378, 256},
                       {{0.8, 1e-4, 100000}, 1e-7, 1.2997511498406797, 11}}) {
    const PrivacySpent spent = privacy_spent(r.training, r.delta);
    // Rounding of log(A), about 1e-14 in the peer, times steps / (order - 1).
    EXPECT_NEAR(spent.epsilon, r.epsilon, 1e-9 * r.epsilon);
    EXPECT_EQ(spent.order, r.order);
    EXPECT_LT(spent.epsilon,
              privacy_spent(r.training, r.delta, PrivacyConversion::mironov).epsilon);
  }
}

TEST(PrivacySpent, PhasesAddUp) {
  const PrivateSteps first{1.5, 0.01, 300}, second{0.9, 0.02, 200};
  const PrivateSteps both[] = {first, second}, halves[] = {{1.5, 0.01, 100}, {1.5, 0.01, 200}};
  EXPECT_GT(privacy_spent(both, 1e-5).epsilon, privacy_spent(second, 1e-5).epsilon);
  EXPECT_LE(privacy_spent(both, 2e-5).epsilon,
            privacy_spent(first, 1e-5).epsilon + privacy_spent(second, 1e-5).epsilon);
  EXPECT_DOUBLE_EQ(privacy_spent(halves, 1e-5).epsilon, privacy_spent(first, 1e-5).epsilon);
  EXPECT_EQ(privacy_spent(PrivateSteps{1, 0.1, 0}, 1e-5).epsilon, 0);
  EXPECT_EQ(privacy_spent(PrivateSteps{0, 0.1, 1}, 1e-5).epsilon, INFINITY);
}

// calibrate_dp_mechanism(RdpAccountant, ..., epsilon, delta, tol=1e-9) of dp-accounting 0.6.0
TEST(NoiseMultiplierFor, IsTheInverse) {
  struct Row {
    double rate;
    int64_t steps;
    double delta, epsilon, noise;
  };
  for (const Row& r : {Row{250 / 60000.0, 3600, 1e-5, 1, 1.2539423324123717},
                       {0.01, 10000, 1e-5, 2, 2.2780578951459147},
                       {0.001, 20000, 1e-6, 0.5, 1.4952724750317345},
                       {1, 10, 1e-5, 3, 4.7219334081165245}}) {
    const double noise = noise_multiplier_for(r.epsilon, r.delta, r.rate, r.steps);
    EXPECT_NEAR(noise, r.noise, 2e-6 * r.noise);  // it stops within 1e-6 of itself
    EXPECT_LE(privacy_spent({noise, r.rate, r.steps}, r.delta).epsilon, r.epsilon);
  }
}

// Fractional orders, whose series rounds to no loss at all for tiny rates, lie between whole ones.
TEST(PrivacySpent, TinyRatesAreNoPerfectPrivacy) {
  for (double rate : {1e-5, 1e-6, 1e-7, 1e-8, 1e-9})
    for (double noise : {1.0, 2.0, 5.0}) {
      SCOPED_TRACE(testing::Message() << "rate " << rate << " noise " << noise);
      for (double order = 2.1; order < 10; order += 0.1) {
        const auto rdp = [&](double a) { return subsampled_gaussian_rdp(rate, noise, a); };
        // One in 10,000 for what the series loses where it is used.
        EXPECT_GE(rdp(order), rdp(std::floor(order)) * (1 - 1e-4)) << order;
        EXPECT_LE(rdp(order), rdp(std::ceil(order)) * (1 + 1e-4)) << order;
      }
      EXPECT_GT(privacy_spent({noise, rate, 1000000}, 1e-5).epsilon, 0);
    }
}

TEST(PrivacySpent, NoNoiseToSpeakOfIsNoPrivacy) {
  for (double noise : {0.0, 1e-300, 1e-9})
    EXPECT_TRUE(std::isinf(privacy_spent({noise, 0.01, 1}, 1e-5).epsilon)) << noise;
  EXPECT_EQ(privacy_spent({1, 0, 10}, 1e-5).epsilon, 0);
}

TEST(PrivacySpent, RefusesWhatMakesNoSense) {
  EXPECT_EQ(test::error_of([] {
              privacy_spent(PrivateSteps{1, 1.5, 1}, 1e-5);
            }),
            "privacy_spent: sampling_rate is 1.5; it must be from 0 to 1");
  EXPECT_THROW(privacy_spent(PrivateSteps{-1, 0.5, 1}, 1e-5), InvalidArgument);
  EXPECT_THROW(privacy_spent(PrivateSteps{1, 0.5, -1}, 1e-5), InvalidArgument);
  EXPECT_THROW(privacy_spent(PrivateSteps{1, 0.5, 1}, 0), InvalidArgument);
  EXPECT_THROW(subsampled_gaussian_rdp(0.1, 1, 1), InvalidArgument);
  EXPECT_THROW(noise_multiplier_for(0, 1e-5, 0.1, 10), InvalidArgument);
}

}  // namespace
}  // namespace rein
