#include "rein/kernels/norm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/flush_denormals.h"
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

// ---------------------------------------------------------------- the largest size

template <class T>
using Limits = std::numeric_limits<T>;

// Both are NaN, or they are equal.
void expect_same(double got, double want) {
  EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << got << " for " << want;
}

template <class T>
class LargestSize : public ::testing::Test {};
TYPED_TEST_SUITE(LargestSize, Types);

TYPED_TEST(LargestSize, AgreesWithThePlainTwinForAllTails) {
  for_each_target([](const char* target) {
    for (size_t n = 0; n <= 150; ++n) {
      const auto x = noise<TypeParam>(n);
      EXPECT_EQ(largest_size(x.data(), n), ref::largest_size(x.data(), n)) << target << " " << n;
    }
  });
}

TYPED_TEST(LargestSize, IsFoundInEveryPlace) {
  using T = TypeParam;
  constexpr T kInf = Limits<T>::infinity(), kNaN = Limits<T>::quiet_NaN();
  const T larger[] = {4, -4, Limits<T>::max(), Limits<T>::lowest(), kInf, -kInf, kNaN, -kNaN};
  constexpr size_t n = 70;
  for_each_target([&](const char* target) {
    SCOPED_TRACE(target);
    for (T other : {T{0}, -T{0}, T{-1}, Limits<T>::denorm_min()})
      for (T most : larger)
        for (size_t i = 0; i < n; ++i) {
          std::vector<T> x(n, other);
          x[i] = most;
          expect_same(largest_size(x.data(), n), std::abs(static_cast<double>(most)));
        }
  });
}

TYPED_TEST(LargestSize, NothingHidesNaN) {
  using T = TypeParam;
  constexpr size_t n = 70;
  for_each_target([](const char* target) {
    for (T other : {Limits<T>::infinity(), Limits<T>::max(), T{0}})
      for (size_t i = 0; i < n; ++i) {
        std::vector<T> x(n, other);
        x[i] = Limits<T>::quiet_NaN();
        EXPECT_TRUE(std::isnan(largest_size(x.data(), n))) << target << " " << i;
      }
  });
}

TYPED_TEST(LargestSize, OfDenormalsIsExactUnlessTheyAreZero) {
  const std::vector<TypeParam> x(33, -3 * Limits<TypeParam>::denorm_min());
  for_each_target([&](const char* target) {
    EXPECT_EQ(largest_size(x.data(), 33), 3.0 * Limits<TypeParam>::denorm_min()) << target;
    double flushed = 1;
    {
      const FlushDenormals zero;
      flushed = largest_size(x.data(), 33);
    }
    EXPECT_EQ(flushed, 0) << target;
  });
}

TYPED_TEST(LargestSize, ReadsNothingBeyondTheEnd) {
  for_each_target([](const char* target) {
    for (size_t n = 0; n <= 70; ++n) {
      auto x = noise<TypeParam>(n + 1);
      x[n] = Limits<TypeParam>::quiet_NaN();
      EXPECT_TRUE(std::isfinite(largest_size(x.data(), n))) << target << " " << n;
    }
  });
}

// ---------------------------------------------------------------- sums of powers

// By products, with a root, and by logarithms.
constexpr double kOrders[] = {1,   1.25, 1.5, 2,    2.3, 2.5,  3,  3.7, 4,  4.5,
                              5.5, 6,    7,   12.9, 16,  31.5, 64, 65,  100};

template <class T>
class SumOfPowers : public ::testing::Test {};
TYPED_TEST_SUITE(SumOfPowers, Types);

// What the root of order p of a sum may be off by, relative to it.
constexpr double kRootError = 1e-13;

TYPED_TEST(SumOfPowers, AgreesWithThePlainTwinForAllTails) {
  for_each_target([](const char* target) {
    for (const double p : kOrders)
      for (size_t n = 0; n <= 150; ++n)
        for (const double unit : {1.0, 0.37}) {
          const auto x = noise<TypeParam>(n);
          const double plain = ref::sum_of_powers(x.data(), n, p, unit);
          EXPECT_NEAR(sum_of_powers(x.data(), n, p, unit), plain, p * kRootError * plain)
              << target << ", order " << p << ", " << n << " in units of " << unit;
        }
  });
}

// More than are taken at once where logarithms are.
TYPED_TEST(SumOfPowers, OfManyNumbers) {
  for_each_target([](const char* target) {
    for (const double p : kOrders)
      for (const size_t n : {255u, 256u, 257u, 1000u, 16384u}) {
        const auto x = noise<TypeParam>(n);
        const double plain = ref::sum_of_powers(x.data(), n, p, 1);
        EXPECT_NEAR(sum_of_powers(x.data(), n, p, 1), plain, p * kRootError * plain)
            << target << ", order " << p << ", " << n;
      }
  });
}

// One number at a time over all its range, so that none hides behind a larger one.
TYPED_TEST(SumOfPowers, IsRightForNumbersOfEverySize) {
  using T = TypeParam;
  const RandomStream random(Seed{5}, 0);
  for_each_target([&](const char* target) {
    uint64_t draw = 0;
    for (const double p : kOrders)
      for (int e = Limits<T>::min_exponent - Limits<T>::digits; e < Limits<T>::max_exponent; ++e)
        for (const T mantissa : {T{1}, static_cast<T>(1 + random.uniform(draw++))}) {
          const T x = std::ldexp(mantissa, e);
          const double plain = ref::sum_of_powers(&x, 1, p, 1), got = sum_of_powers(&x, 1, p, 1);
          if (plain > 0x1p-1021 && plain < 0x1p1023)
            ASSERT_NEAR(got, plain, p * kRootError * plain)
                << target << ", order " << p << " " << x;
          else
            ASSERT_TRUE(plain < 1 ? got <= 0x1p-1020 : got >= 0x1p1022)
                << target << ", order " << p << " of " << x << ": " << got;
          // In units of itself, whatever its size.
          ASSERT_EQ(x == 0 ? 1 : sum_of_powers(&x, 1, p, static_cast<double>(x)), 1)
              << target << ", order " << p << " of " << x;
        }
  });
}

TYPED_TEST(SumOfPowers, SpecialNumbersInEveryPlace) {
  using T = TypeParam;
  constexpr T kInf = Limits<T>::infinity(), kNaN = Limits<T>::quiet_NaN();
  const T small = Limits<T>::denorm_min();
  constexpr size_t n = 70;
  for_each_target([&](const char* target) {
    for (const double p : kOrders)
      for (const double unit : {1.0, 0.37})
        for (size_t i = 0; i < n; ++i)
          for (T special : {kNaN, -kNaN, kInf, -kInf, T{0}, -T{0}, small, -small}) {
            auto x = noise<T>(n);
            x[i] = special;
            const double got = sum_of_powers(x.data(), n, p, unit);
            const double plain = ref::sum_of_powers(x.data(), n, p, unit);
            if (std::isfinite(plain))
              ASSERT_NEAR(got, plain, p * kRootError * plain)
                  << target << ", order " << p << ", " << special << " at " << i;
            else
              ASSERT_TRUE(std::isnan(plain) ? std::isnan(got) : got == plain)
                  << target << ", order " << p << ", " << special << " at " << i << ": " << got;
          }
  });
}

// Whatever bits a NaN has.
TEST(SumOfPowersOfDoubles, IsNaNForEveryNaN) {
  for_each_target([](const char* target) {
    for (const double p : kOrders)
      for (const uint64_t bits : {0x7ff8000000000000u, 0x7fffffffffffffffu, 0xffffffffffffffffu,
                                  0x7ff8000000000800u, 0xfff8000000000fffu}) {
        std::vector<double> x(9, Limits<double>::infinity());
        for (size_t i = 0; i < x.size(); ++i) {
          x.assign(9, Limits<double>::infinity());
          x[i] = std::bit_cast<double>(bits);
          EXPECT_TRUE(std::isnan(sum_of_powers(x.data(), 9, p, 1))) << target << ", order " << p;
        }
      }
  });
}

TYPED_TEST(SumOfPowers, OfZerosIsZero) {
  const std::vector<TypeParam> x(70);
  for_each_target([&](const char* target) {
    for (const double p : kOrders)
      for (size_t n = 0; n <= 70; ++n)
        EXPECT_EQ(sum_of_powers(x.data(), n, p, 1), 0) << target << ", order " << p;
  });
}

TYPED_TEST(SumOfPowers, OfHugeOrdersCountsTheLargest) {
  auto x = noise<TypeParam>(70);
  const double most = ref::largest_size(x.data(), 70);
  x[3] = x[69] = static_cast<TypeParam>(-most);
  for_each_target([&](const char* target) {
    for (const double p : {1e6, 1e18, 1e300, Limits<double>::max()})
      for (size_t n : {69u, 70u})
        EXPECT_NEAR(sum_of_powers(x.data(), n, p, most), ref::sum_of_powers(x.data(), n, p, most),
                    1e-6)
            << target << ", order " << p;
  });
}

TYPED_TEST(SumOfPowers, ReadsNothingBeyondTheEnd) {
  for_each_target([](const char* target) {
    for (const double p : kOrders)
      for (size_t n = 0; n <= 70; ++n) {
        auto x = noise<TypeParam>(n + 1);
        x[n] = Limits<TypeParam>::quiet_NaN();
        EXPECT_TRUE(std::isfinite(sum_of_powers(x.data(), n, p, 1))) << target << " " << n;
      }
  });
}

}  // namespace
}  // namespace rein::kernels
