#include "rein/kernels/update.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/special_numbers.h"

namespace rein::kernels {
namespace {

TEST(ScaleInto, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n)
      for (double factor : {1.0, 0.37, 0.0, -1e-3, 1e-41, 1e-60, 1e39, -1e60, std::nan("")}) {
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
  std::vector<float> small(40, 0x3p-133f);
  small[7] = 0;
  scale_into(small.data(), 0x1p133, small.data(), 40);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(small[i], i == 7 ? 0 : 3) << i;
}

TEST(ScaleEach, AgreesWithThePlainTwin) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 70; ++n) {
      auto fast = numbers(n, 1), plain = fast;
      std::vector<double> factors(n);
      const double some[] = {1, 0.3, 1e-60, 0, -2};
      for (size_t i = 0; i < n; ++i) factors[i] = some[i * 7 % 5];
      scale_each(factors.data(), fast.data(), n);
      ref::scale_each(factors.data(), plain.data(), n);
      expect_same_bits(fast, plain, n);
    }
  });
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

TEST(ClipSpikes, AgreesWithThePlainTwinToTheBit) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    bool spikes = false;
    for (float size : {1.0f, 1e-30f, 1e30f})
      for (size_t n = 0; n <= 70; ++n) {
        auto fast = numbers(n, 1), plain = fast, root = numbers(n, 2);
        for (size_t i = 0; i < n; ++i) {
          if (n % 2 == 0) fast[i] = plain[i] = std::isfinite(fast[i]) ? size * fast[i] : 0;
          root[i] = std::isfinite(root[i]) ? std::abs(size * root[i]) : 0;
        }
        std::vector<float> fast_coming(n + 1, kGuard), plain_coming(n + 1, kGuard);
        const SpikeNumbers a{.root_theta = 1.5, .beta2 = 0.9};
        const bool of_fast = clip_spikes(fast.data(), root.data(), fast_coming.data(), a, n);
        const bool of_plain =
            ref::clip_spikes(plain.data(), root.data(), plain_coming.data(), a, n);
        spikes |= of_plain;
        EXPECT_EQ(of_fast, of_plain) << n;
        expect_same_bits(fast, plain, n);
        expect_same_bits(fast_coming, plain_coming, n);
      }
    EXPECT_TRUE(spikes);
  });
}

TEST(ClipSpikes, FollowsTheFormula) {
  std::vector<float> x{3, -3, 0.5f, 7, kInf}, coming(5);
  const std::vector<float> root{1, 1, 1, 0, 1};
  EXPECT_TRUE(
      clip_spikes(x.data(), root.data(), coming.data(), {.root_theta = 2, .beta2 = 0.75}, 4));
  EXPECT_EQ(x, (std::vector<float>{2, -2, 0.5f, 7, kInf}));
  for (size_t i = 0; i < 4; ++i)  // the square is rounded, then its root
    EXPECT_FLOAT_EQ(coming[i], static_cast<float>(std::sqrt(0.75 * std::pow(root[i], 2) +
                                                            0.25 * std::pow(x[i], 2))));
  EXPECT_TRUE(clip_spikes(&x[4], &root[4], &coming[4], {.root_theta = 2, .beta2 = 0.75}, 1));
  EXPECT_EQ(x[4], 2);
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

}  // namespace
}  // namespace rein::kernels
