// Small products of every width around the vectors, each array against memory that cannot be
// touched.
#include "kernels/gemm_small.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/guarded.h"
#include "rein/base/random.h"

namespace rein::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void fill(Guarded<float>& x, uint64_t stream) {
  const RandomStream random(Seed{1}, stream);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.normal(i));
}

void check(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, float beta) {
  Guarded<float> a(static_cast<size_t>(m * k)), b(static_cast<size_t>(k * n)),
      c(static_cast<size_t>(m * n));
  fill(a, 1), fill(b, 2), fill(c, 3);
  if (beta == 0) std::fill_n(c.data(), c.size(), kNaN);  // is not read
  const auto wide = [](const Guarded<float>& x) {
    return std::vector<double>(x.data(), x.data() + x.size());
  };
  const auto absolute = [](std::vector<double> x) {
    for (double& v : x) v = std::abs(v);
    return x;
  };
  const int64_t lda = ta == Trans::yes ? m : k, ldb = tb == Trans::yes ? k : n;
  std::vector<double> want = wide(c), magnitude = absolute(want);
  ref::gemm<double>(ta, tb, m, n, k, wide(a).data(), lda, wide(b).data(), ldb, beta, want.data(),
                    n);
  ref::gemm<double>(ta, tb, m, n, k, absolute(wide(a)).data(), lda, absolute(wide(b)).data(), ldb,
                    std::abs(beta), magnitude.data(), n);
  simd::small_gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, beta, c.data(), n);
  // k + 2 roundings of the sum of the absolute products.
  const double rounding = static_cast<double>(k + 2) * 0x1p-24;
  for (size_t i = 0; i < c.size(); ++i)
    ASSERT_LE(std::abs(static_cast<double>(c[i]) - want[i]), rounding * magnitude[i])
        << m << "x" << n << "x" << k << ", element " << i << ", beta " << beta;
  EXPECT_TRUE(a.intact() && b.intact() && c.intact());
}

TEST(SmallGemm, EveryWidthOnEveryTarget) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (int64_t n = 1; n <= 67 && !testing::Test::HasFailure(); ++n)
      for (Trans ta : {Trans::no, Trans::yes})
        for (Trans tb : {Trans::no, Trans::yes})
          check(ta, tb, 1 + n * 5 % 14, n, 1 + n * 7 % 23, n % 3 == 0 ? 0.0f : n % 3 == 1 ? 1 : -2);
  });
}

TEST(SmallGemm, MoreInnerElementsThanArePackedAtOnce) {
  for (int64_t k : {255, 256, 257, 600}) check(Trans::no, Trans::yes, 7, 21, k, 0.5f);
}

TEST(SmallGemm, WhatIsNotFiniteSpreadsToItsRowAndColumn) {
  constexpr int64_t kSize = 5;
  std::vector<float> a(kSize * kSize, 1), b(kSize * kSize, 0), c(kSize * kSize);
  a[1 * kSize + 2] = kNaN;
  a[3 * kSize + 0] = std::numeric_limits<float>::infinity();  // times 0
  simd::small_gemm(Trans::no, Trans::no, kSize, kSize, kSize, a.data(), kSize, b.data(), kSize, 0,
                   c.data(), kSize);
  for (size_t i = 0; i < c.size(); ++i)
    EXPECT_EQ(std::isnan(c[i]), i / kSize == 1 || i / kSize == 3) << i;
}

}  // namespace
}  // namespace rein::kernels
