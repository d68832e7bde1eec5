#include "rein/kernels/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "rein/base/random.h"

namespace rein::kernels {
namespace {

template <class T>
std::vector<T> noise(size_t n) {
  std::vector<T> x(n);
  const RandomStream random(Seed{3}, n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<T>(random.normal(i));
  return x;
}

template <class T>
class SumOfSquares : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SumOfSquares, Types);

TYPED_TEST(SumOfSquares, AgreesWithThePlainTwinForAllTails) {
  for_each_target([](const char* target) {
    for (size_t n = 0; n <= 150; ++n) {
      const auto x = noise<TypeParam>(n);
      const double plain = ref::sum_of_squares(x.data(), n);
      // n terms of one sign, in another order: n roundings at most.
      EXPECT_NEAR(sum_of_squares(x.data(), n), plain, 2.2e-16 * static_cast<double>(n) * plain)
          << target << " " << n;
    }
  });
}

TYPED_TEST(SumOfSquares, ReadsNothingBeyondTheEnd) {
  for_each_target([](const char* target) {
    for (size_t n = 0; n <= 70; ++n) {
      auto x = noise<TypeParam>(n + 1);
      x[n] = std::numeric_limits<TypeParam>::quiet_NaN();
      EXPECT_TRUE(std::isfinite(sum_of_squares(x.data(), n))) << target << " " << n;
    }
  });
}

TYPED_TEST(SumOfSquares, OneBadNumberAnywhereShows) {
  constexpr size_t n = 70;
  for_each_target([](const char* target) {
    for (size_t i = 0; i < n; ++i) {
      auto x = noise<TypeParam>(n);
      x[i] = std::numeric_limits<TypeParam>::quiet_NaN();
      EXPECT_TRUE(std::isnan(sum_of_squares(x.data(), n))) << target << " " << i;
      x[i] = -std::numeric_limits<TypeParam>::infinity();
      EXPECT_EQ(sum_of_squares(x.data(), n), std::numeric_limits<double>::infinity())
          << target << " " << i;
    }
  });
}

TEST(AddSquares, GivesTheBitsOfThePlainTwin) {
  for_each_target([](const char* target) {
    for (size_t n = 0; n <= 70; ++n) {
      const auto x = noise<float>(n);
      auto fast = noise<double>(n + 1), plain = fast;
      add_squares(fast.data(), x.data(), n);
      ref::add_squares(plain.data(), x.data(), n);
      EXPECT_EQ(fast, plain) << target << " " << n;
    }
  });
}

TEST(SumOfSquaresOfFloats, NeitherOverflowsNorVanishes) {
  const float top = std::numeric_limits<float>::max(), bottom = 1e-45f;
  const std::vector<float> large(40, top), small(40, bottom);
  const double t = top, b = bottom;
  EXPECT_NEAR(sum_of_squares(large.data(), 40) / (40 * t * t), 1, 1e-14);
  EXPECT_NEAR(sum_of_squares(small.data(), 40) / (40 * b * b), 1, 1e-14);
}

}  // namespace
}  // namespace rein::kernels
