#include "rein/kernels/update.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "rein/base/random.h"

namespace rein::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kGuard = 12345;

// Random numbers with some special ones among them, and a guard behind.
std::vector<float> numbers(size_t n, uint64_t stream) {
  std::vector<float> x(n + 1, kGuard);
  const RandomStream random(Seed{5}, stream);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(random.normal(i));
  const float special[] = {kNaN, kInf, -kInf, 0.0f, -0.0f, 1e-40f, 3e38f};
  for (size_t i = 0; i < n; ++i)
    if (i % 5 == stream % 5) x[i] = special[(i / 5 + n) % 7];
  return x;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, size_t n) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;  // whatever bits a NaN has
    EXPECT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << "n " << n << " element " << i << ": " << a[i] << " and " << b[i];
  }
}

TEST(ScaleInto, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n)
      for (double factor : {1.0, 0.37, 0.0, -1e-3, 1e-41, 1e-60, std::nan("")}) {
        const auto x = numbers(n, 1);
        std::vector<float> fast(n + 1, kGuard), plain(n + 1, kGuard);
        scale_into(x.data(), factor, fast.data(), n);
        ref::scale_into(x.data(), factor, plain.data(), n);
        expect_same_bits(fast, plain, n);
      }
  });
}

TEST(ScaleInto, FactorOneKeepsTheBits) {
  const auto x = numbers(64, 2);
  std::vector<float> out(65, kGuard);
  scale_into(x.data(), 1, out.data(), 64);
  expect_same_bits(out, x, 64);
}

TEST(ScaleInto, AFactorThatIsNoFloatStillScales) {
  std::vector<float> x(40, 1e30f);
  scale_into(x.data(), 1e-60, x.data(), 40);
  for (float v : x) EXPECT_FLOAT_EQ(v, 1e-30f);
}

TEST(ClipInPlace, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n) {
      auto fast = numbers(n, 3), plain = fast;
      const bool a = clip_in_place(fast.data(), -0.5f, 0.8f, n);
      const bool b = ref::clip_in_place(plain.data(), -0.5f, 0.8f, n);
      expect_same_bits(fast, plain, n);
      EXPECT_EQ(a, b) << n;
    }
  });
}

TEST(ClipInPlace, TellsWhetherAnythingChanged) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 1; n <= 40; ++n)
      for (size_t at = 0; at < n; ++at) {
        std::vector<float> x(n, 0.25f);
        EXPECT_FALSE(clip_in_place(x.data(), -1, 1, n));
        x[at] = kNaN;
        EXPECT_FALSE(clip_in_place(x.data(), -1, 1, n));
        EXPECT_TRUE(std::isnan(x[at]));
        x[at] = -2;
        EXPECT_TRUE(clip_in_place(x.data(), -1, 1, n));
        EXPECT_EQ(x[at], -1);
      }
  });
}

TEST(ClipInPlace, TheLowerBoundWins) {
  std::vector<float> x(33, 0.0f);
  clip_in_place(x.data(), 2, 1, 33);
  for (float v : x) EXPECT_EQ(v, 2);
}

TEST(AddInto, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n) {
      auto fast = numbers(n, 4), plain = fast;
      const auto d = numbers(n, 0);
      add_into(fast.data(), d.data(), n);
      ref::add_into(plain.data(), d.data(), n);
      expect_same_bits(fast, plain, n);
    }
  });
}

struct AdamArrays {
  std::vector<float> d, m, v;
  explicit AdamArrays(size_t n) : d(numbers(n, 1)), m(numbers(n, 2)), v(numbers(n, 3)) {
    for (size_t i = 0; i < n; ++i) v[i] = std::abs(v[i]);
  }
};

constexpr AdamNumbers kAdam{.beta1 = 0.9,
                            .beta2 = 0.999,
                            .new1 = 0.1,
                            .new2 = 0.001,
                            .rate = 0.01,
                            .root_factor = 1.5,
                            .epsilon = 1e-8};

void expect_near(const std::vector<float>& got, const std::vector<float>& want, size_t n) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(want[i])) {
      EXPECT_TRUE(std::isnan(want[i]) ? std::isnan(got[i]) : got[i] == want[i]) << n << " " << i;
      continue;
    }
    // The vector code fuses multiplications with additions, the twin rounds between: a few ulp of
    // the larger term, of order 1 here.
    EXPECT_NEAR(got[i], want[i], 4e-7 * std::max(1.0f, std::abs(want[i]))) << n << " " << i;
  }
}

TEST(Adam, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n) {
      AdamArrays fast(n), plain(n);
      adam(fast.d.data(), fast.m.data(), fast.v.data(), kAdam, n);
      ref::adam(plain.d.data(), plain.m.data(), plain.v.data(), kAdam, n);
      expect_near(fast.m, plain.m, n);
      expect_near(fast.v, plain.v, n);
      expect_near(fast.d, plain.d, n);
      EXPECT_EQ(fast.d[n], kGuard);
      EXPECT_EQ(fast.m[n], kGuard);
      EXPECT_EQ(fast.v[n], kGuard);
    }
  });
}

TEST(Adam, AnElementsBitsDoNotDependOnItsPlace) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    constexpr size_t n = 67;
    AdamArrays whole(n), single(n);
    adam(whole.d.data(), whole.m.data(), whole.v.data(), kAdam, n);
    for (size_t i = 0; i < n; ++i) adam(&single.d[i], &single.m[i], &single.v[i], kAdam, 1);
    expect_same_bits(whole.d, single.d, n);
    expect_same_bits(whole.m, single.m, n);
    expect_same_bits(whole.v, single.v, n);
  });
}

TEST(Adam, DoublesFollowTheFormula) {
  double d = 0.5, m = 0.2, v = 0.04;
  adam(&d, &m, &v, kAdam, 1);
  const double mean = 0.9 * 0.2 + 0.1 * 0.5, variance = 0.999 * 0.04 + 0.001 * 0.25;
  EXPECT_DOUBLE_EQ(m, mean);
  EXPECT_DOUBLE_EQ(v, variance);
  EXPECT_DOUBLE_EQ(d, -0.01 * mean / (1.5 * std::sqrt(variance) + 1e-8));
}

}  // namespace
}  // namespace rein::kernels
