// Norms of every order against the formula in long double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "process/l2.h"
#include "rein/base/random.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kOrders[] = {1, 1.1, 1.5, 2,  2.3,  2.5,  3,    4,  4.5, 5,
                              6, 6.7, 8,   10, 15.9, 31.5, 50.3, 64, 100, 5000};
constexpr double kError = 1e-12;

template <class T>
double by_formula(std::span<const T> x, double p) {
  long double most = 0, sum = 0;
  for (T v : x) most = std::max(most, std::abs(static_cast<long double>(v)));
  for (T v : x)
    sum += std::pow(std::abs(static_cast<long double>(v)) / most, static_cast<long double>(p));
  return static_cast<double>(most * std::pow(sum, 1 / static_cast<long double>(p)));
}

template <class T>
class PNorm : public ::testing::Test {
 protected:
  // From size to 10^spread size.
  static std::vector<T> draw(size_t n, double size, double spread) {
    const RandomStream random(Seed{6}, n);
    std::vector<T> x(n);
    for (size_t i = 0; i < n; ++i) {
      const double v = size * std::pow(10.0, spread * random.uniform(2 * i));
      x[i] = static_cast<T>(random.uniform(2 * i + 1) < 0.5 ? -v : v);
    }
    return x;
  }
  static double norm(const std::vector<T>& x, double p) { return p_norm(std::span(x), p); }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PNorm, Types);

TYPED_TEST(PNorm, IsRightForNumbersOfEverySize) {
  constexpr bool kDouble = sizeof(TypeParam) == 8;
  const int least = kDouble ? -323 : -45, most = kDouble ? 304 : 34;
  for (const double p : kOrders)
    for (const size_t n : {1u, 2u, 7u, 33u})
      for (int e = least; e <= most; e += 3)
        for (const double spread : {0.3, 2.0}) {
          const auto x = this->draw(n, std::pow(10.0, e), spread);
          const double want = by_formula(std::span<const TypeParam>(x), p);
          // The norm itself may be denormal.
          ASSERT_NEAR(this->norm(x, p), want, kError * want + 5e-324)
              << "order " << p << ", " << n << " of 1e" << e;
        }
}

TYPED_TEST(PNorm, OfBlocks) {
  for (const double p : {1.0, 2.3, 4.5, 64.0})
    for (const size_t n : {16384u, 16385u, 40000u})
      for (const double size : {1e-30, 1e-3}) {
        const auto x = this->draw(n, size, 4);
        const double want = by_formula(std::span<const TypeParam>(x), p);
        ASSERT_NEAR(this->norm(x, p), want, kError * want) << "order " << p << ", " << n;
      }
}

// More than are joined at once.
TYPED_TEST(PNorm, OfManyBlocks) {
  constexpr size_t n = 70 * kNormBlock + 1;
  for (const double size : {1e-30, 3.0})
    for (const double p : kOrders) {
      const std::vector<TypeParam> x(n, static_cast<TypeParam>(-size));
      const double want = -double{x[0]} * std::pow(static_cast<double>(n), 1 / p);
      ASSERT_NEAR(this->norm(x, p), want, kError * want) << "order " << p << " of " << size;
    }
}

TYPED_TEST(PNorm, OfOrderInfinityIsTheLargest) {
  auto x = this->draw(40000, 1e-3, 4);
  x[39999] = -20;
  EXPECT_EQ(this->norm(x, kInf), 20);
  for (const double p : {1e18, 1e300}) EXPECT_EQ(this->norm(x, p), 20);
}

TYPED_TEST(PNorm, IsFiniteUnlessANumberIsNot) {
  for (const double p : {1.0, 1.5, 2.3, 3.0, 4.5, 64.0, 100.0, kInf})
    for (const size_t at : {0u, 5u, 16383u, 16384u, 39999u}) {
      auto x = this->draw(40000, 1, 2);
      x[at] = static_cast<TypeParam>(-kInf);
      EXPECT_EQ(this->norm(x, p), kInf) << "order " << p << " " << at;
      x[20000] = static_cast<TypeParam>(kNaN);
      EXPECT_TRUE(std::isnan(this->norm(x, p))) << "order " << p << " " << at;
    }
}

TYPED_TEST(PNorm, OfZerosAndOfNothingIsZero) {
  for (const double p : {1.0, 2.3, 4.5, 64.0, kInf})
    for (const size_t n : {0u, 1u, 40000u}) EXPECT_EQ(this->norm(std::vector<TypeParam>(n), p), 0);
}

}  // namespace
}  // namespace rein
