// Adafactor's passes over a row: every length up to some vectors, beside memory that cannot be
// touched, against their plain twins.
#include "rein/kernels/factored.h"

#include <gtest/gtest.h>

#include "kernels/each_target.h"
#include "kernels/guarded.h"
#include "kernels/special_numbers.h"
#include "rein/kernels/update.h"

namespace rein::kernels {
namespace {

constexpr size_t kLongest = 70;  // more than four vectors of AVX-512
constexpr double kA = -0.3, kB = -0.01;

template <class T = float>
std::vector<T> noise(size_t n, uint64_t stream) {
  std::vector<T> x(n);
  const RandomStream random(Seed{5}, stream);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<T>(random.normal(i));
  return x;
}

// A row without bound, and one whose bound holds some numbers back.
struct Row {
  std::vector<float> columns;
  bool bounded;
  RowFactors<float> factors() const { return {0.7f, columns.data(), bounded, 0.5f}; }
};
std::vector<Row> rows(size_t n) {
  std::vector<float> columns = noise(n, 2);
  for (float& c : columns) c = std::abs(c);
  return {{columns, false}, {columns, true}};
}

template <class F>
void for_each_length(F&& f) {
  for_each_target([&](const char* target) {
    for (size_t n = 0; n <= kLongest; ++n) {
      SCOPED_TRACE(testing::Message() << target << ", n " << n);
      f(n);
    }
  });
}

TEST(RowSquares, AreThePlainTwins) {
  for_each_length([](size_t n) {
    for (const double scale : {1.0, 0.37, 1e-41, 0x1p133}) {  // the last two are no normal floats
      auto x = noise(n, 1);
      if (scale > 1)
        for (float& v : x) v *= 0x1p-133f;
      const auto sums = noise<double>(n, 3);
      auto plain = x;
      auto plain_sums = sums;
      Guarded<float> fast(x);
      Guarded<double> fast_sums(sums);
      const double want = ref::row_squares(plain.data(), scale, plain_sums.data(), n);
      const double got = row_squares(fast.data(), scale, fast_sums.data(), n);
      // n terms of one sign, in another order: n roundings at most.
      EXPECT_NEAR(got, want, 2.2e-16 * static_cast<double>(n) * want);
      for (size_t i = 0; i < n; ++i) {
        EXPECT_EQ(fast[i], plain[i]) << i;
        EXPECT_EQ(fast_sums[i], plain_sums[i]) << i;
      }
    }
  });
}

TEST(FactoredSquares, AreThePlainTwins) {
  for_each_length([](size_t n) {
    for (const Row& row : rows(n)) {
      const auto x = noise(n, 1);
      const Guarded<float> guarded(x), columns(row.columns);
      RowFactors<float> factors = row.factors();
      const double want = ref::factored_squares(x.data(), factors, n);
      factors.columns = columns.data();
      EXPECT_NEAR(factored_squares(guarded.data(), factors, n), want,
                  2.2e-16 * static_cast<double>(n) * want);
    }
  });
}

TEST(FactoredSteps, AreThePlainTwins) {
  for_each_length([](size_t n) {
    for (const Row& row : rows(n)) {
      const auto x = noise(n, 1), w = noise(n, 3);
      const Guarded<float> columns(row.columns), from(x);
      auto plain = w, plain_delta = x;
      ref::factored_update(x.data(), row.factors(), kA, kB, plain.data(), n);
      ref::factored_delta(x.data(), row.factors(), kA, kB, w.data(), plain_delta.data(), n);
      RowFactors<float> factors = row.factors();
      factors.columns = columns.data();
      Guarded<float> weights(w), delta(x);
      factored_delta(delta.data(), factors, kA, kB, weights.data(), delta.data(), n);
      factored_update(from.data(), factors, kA, kB, weights.data(), n);
      auto added = w;
      add_into(added.data(), delta.data(), n);
      for (size_t i = 0; i < n; ++i) {
        // A product that is fused with an addition, the twin rounds between: an ulp of numbers
        // of order 1.
        EXPECT_NEAR(delta[i], plain_delta[i], 4e-7) << i;
        EXPECT_NEAR(weights[i], plain[i], 4e-7) << i;
        EXPECT_EQ(weights[i], added[i]) << i;
      }
    }
  });
}

TEST(FactoredSteps, AnElementsBitsDoNotDependOnItsPlace) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    constexpr size_t n = 67;
    for (const Row& row : rows(n)) {
      const auto x = numbers(n, 1);
      auto whole = noise(n, 3), single = whole;
      factored_update(x.data(), row.factors(), kA, kB, whole.data(), n);
      for (size_t i = 0; i < n; ++i) {
        RowFactors<float> factors = row.factors();
        factors.columns += i;
        factored_update(&x[i], factors, kA, kB, &single[i], 1);
      }
      expect_same_bits(whole, single, n);
    }
  });
}

TEST(FactoredSteps, HoldBackWhatIsBeyondTheBound) {
  const std::vector<float> x{2, -2, 2, -2}, columns{0.1f, 3, 3, 0};
  const RowFactors<float> factors{.row = 1, .columns = columns.data(), .bounded = true, .most = 1};
  std::vector<float> w(4);
  factored_update(x.data(), factors, 1, 0, w.data(), 4);
  EXPECT_EQ(w, (std::vector<float>{0.2f, -2, 2, 0}));
  EXPECT_FLOAT_EQ(static_cast<float>(factored_squares(x.data(), factors, 4)), 8.04f);
}

}  // namespace
}  // namespace rein::kernels
