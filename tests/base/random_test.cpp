#include "rein/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace rein {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers of philox4x32-10, published with Random123 (kat_vectors).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, BitsAreTheFirstWordsOfPhilox) {
  // counter = (index, stream), key = seed, low words first
  const auto x = philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
  const RandomStream random(Seed{0x299f31d0a4093822}, 0x0370734413198a2e);
  EXPECT_EQ(random.bits(0x85a308d3243f6a88), uint64_t{x[0]} << 32 | x[1]);
}

TEST(RandomStream, SeedStreamAndIndexEachMatter) {
  const uint64_t bits = RandomStream(Seed{1}, 2).bits(3);
  EXPECT_EQ(RandomStream(Seed{1}, 2).bits(3), bits);
  EXPECT_NE(RandomStream(Seed{9}, 2).bits(3), bits);
  EXPECT_NE(RandomStream(Seed{1}, 9).bits(3), bits);
  EXPECT_NE(RandomStream(Seed{1}, 2).bits(9), bits);
}

constexpr uint64_t kCount = 200000;

// The k-th moment about 0 of `draw`.
template <class F>
double moment(int k, F draw) {
  double sum = 0;
  for (uint64_t i = 0; i < kCount; ++i) sum += std::pow(draw(i), k);
  return sum / static_cast<double>(kCount);
}

// Tolerances: five standard deviations of the mean of kCount draws, sqrt(variance / kCount).
double five_sigma(double variance) { return 5 * std::sqrt(variance / static_cast<double>(kCount)); }

TEST(RandomStream, UniformMoments) {
  const RandomStream random(Seed{5}, 6);
  auto u = [&](uint64_t i) { return random.uniform(i); };
  for (int k = 1; k <= 4; ++k) {
    const double mean = 1.0 / (k + 1), variance = 1.0 / (2 * k + 1) - mean * mean;
    EXPECT_NEAR(moment(k, u), mean, five_sigma(variance)) << k;
  }
  for (uint64_t i = 0; i < kCount; ++i) {
    ASSERT_GE(u(i), 0);
    ASSERT_LT(u(i), 1);
  }
}

TEST(RandomStream, NormalMoments) {
  const RandomStream random(Seed{5}, 7);
  auto z = [&](uint64_t i) { return random.normal(i); };
  const double moments[] = {1, 0, 1, 0, 3, 0, 15, 0, 105};
  for (int k = 1; k <= 4; ++k)
    EXPECT_NEAR(moment(k, z), moments[k], five_sigma(moments[2 * k] - moments[k] * moments[k]))
        << k;
}

TEST(RandomStream, NeighboursAreNotCorrelated) {
  const RandomStream random(Seed{5}, 8), next(Seed{5}, 9);
  // The product of two independent normal numbers has mean 0 and variance 1.
  EXPECT_NEAR(moment(1, [&](uint64_t i) { return random.normal(i) * random.normal(i + 1); }), 0,
              five_sigma(1));
  EXPECT_NEAR(moment(1, [&](uint64_t i) { return random.normal(i) * next.normal(i); }), 0,
              five_sigma(1));
}

TEST(RandomStream, BelowIsEvenAndInside) {
  const RandomStream random(Seed{1}, 1);
  std::vector<int> hits(7);
  for (uint64_t i = 0; i < kCount; ++i) ++hits.at(random.below(i, 7));
  for (int h : hits) {
    const double p = 1.0 / 7, n = static_cast<double>(kCount);
    EXPECT_NEAR(h, n * p, 5 * std::sqrt(n * p * (1 - p)));
  }
  EXPECT_EQ(random.below(0, 1), 0u);
}

TEST(StreamOf, IsFnv1a) {
  // Published test vectors of FNV-1a, 64 bits.
  EXPECT_EQ(stream_of(""), 0xcbf29ce484222325u);
  EXPECT_EQ(stream_of("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(stream_of("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace rein
