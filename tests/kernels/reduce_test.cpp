#include "rein/kernels/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "rein/base/random.h"

namespace rein::kernels {
namespace {

template <class T>
std::vector<T> draw(int64_t n) {
  const RandomStream random(Seed{1}, static_cast<uint64_t>(n));
  std::vector<T> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random.uniform(i) - 0.5);
  return x;
}

struct Sizes {
  int64_t outer, n, inner;
};

// Around every border: of folding, of columns, of tiles, of tiles of tiles.
const Sizes kSizes[] = {
    {1, 1, 1},     {1, 0, 3},      {0, 4, 3},    {4, 3, 0},      {1, 2, 1},     {3, 7, 1},
    {2, 127, 1},   {2, 128, 1},    {2, 255, 1},  {2, 256, 1},    {3, 257, 1},   {1, 32768, 1},
    {1, 32769, 1}, {2, 100003, 1}, {5, 10, 2},   {2, 90, 3},     {2, 20001, 3}, {1, 65, 63},
    {3, 9, 64},    {1, 1000, 64},  {2, 8, 65},   {1, 17, 511},   {1, 64, 512},  {2, 65, 512},
    {1, 66, 513},  {1, 130, 1025}, {7, 5, 1500}, {1, 5000, 100}, {3000, 10, 1}, {40, 3, 1000},
    {1, 4200, 512}};

template <class T>
struct Results {
  std::vector<T> sum, max;
};

template <class T>
Results<T> run(const std::vector<T>& x, const Sizes& s, int threads) {
  ThreadTeam team(threads);
  const auto results = static_cast<size_t>(s.outer * s.inner);
  const T nan = std::numeric_limits<T>::quiet_NaN();
  Results<T> r{std::vector<T>(results, nan), std::vector<T>(results, nan)};
  std::vector<T> scratch(static_cast<size_t>(reduce_axis_scratch(s.outer, s.n, s.inner)), nan);
  sum_axis(x.data(), r.sum.data(), s.outer, s.n, s.inner, scratch.data(), team);
  if (s.n > 0) max_axis(x.data(), r.max.data(), s.outer, s.n, s.inner, scratch.data(), team);
  return r;
}

// The plain twin: one by one, sums in long double.
template <class T>
void compare_with_twin(const Sizes& s) {
  const auto x = draw<T>(s.outer * s.n * s.inner);
  const auto got = run(x, s, 1);
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i) {
      long double sum = 0, size = 0;
      T max = -std::numeric_limits<T>::infinity();
      for (int64_t k = 0; k < s.n; ++k) {
        const T v = x[static_cast<size_t>((o * s.n + k) * s.inner + i)];
        sum += v;
        size += std::abs(v);
        max = std::max(max, v);
      }
      const auto at = static_cast<size_t>(o * s.inner + i);
      // A number passes through fewer than 100 additions, each wrong by half an ulp of what it
      // gives.
      const long double bound = 50 * std::numeric_limits<T>::epsilon() * size;
      ASSERT_LE(std::abs(static_cast<long double>(got.sum[at]) - sum), bound)
          << s.outer << " " << s.n << " " << s.inner << " at " << at;
      ASSERT_TRUE(s.n == 0 || got.max[at] == max) << s.outer << " " << s.n << " " << s.inner;
    }
}

TEST(Reduce, AgreesWithItsTwin) {
  for (const Sizes& s : kSizes) {
    compare_with_twin<float>(s);
    compare_with_twin<double>(s);
  }
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

TEST(Reduce, ThreadsDoNotChangeABit) {
  for (const Sizes& s : kSizes) {
    const auto x = draw<float>(s.outer * s.n * s.inner);
    const auto one = run(x, s, 1);
    for (int threads : {2, 3}) {
      const auto more = run(x, s, threads);
      EXPECT_TRUE(same_bits(one.sum, more.sum)) << s.outer << " " << s.n << " " << s.inner;
      EXPECT_TRUE(same_bits(one.max, more.max)) << s.outer << " " << s.n << " " << s.inner;
    }
  }
}

TEST(Reduce, AMillionFloatsAddUpToOnePartInAMillion) {
  // All of one sign and not of one size: a running float sum is wrong by 1e-4 here.
  constexpr int64_t kCount = 1000000;
  auto x = draw<float>(kCount);
  for (float& v : x) v = std::exp(8 * v);
  double sum = 0;
  float running = 0;
  for (float v : x) sum += static_cast<double>(v), running += v;
  EXPECT_NEAR(run(x, {1, kCount, 1}, 1).sum[0] / sum, 1, 1e-6);
  for (int64_t inner : {4, 100, 1000}) {
    const auto columns = run(x, {1, kCount / inner, inner}, 1).sum;
    for (int64_t i = 0; i < inner; ++i) {
      double want = 0;
      for (int64_t k = i; k < kCount; k += inner)
        want += static_cast<double>(x[static_cast<size_t>(k)]);
      ASSERT_NEAR(columns[static_cast<size_t>(i)] / want, 1, 1e-6) << inner;
    }
  }
  EXPECT_GT(std::abs(running / sum - 1), 1e-6);  // so the test can tell
}

TEST(Reduce, MaximumOfNaNIsNaNWhereverItStands) {
  for (const Sizes& s : {Sizes{1, 300, 1}, Sizes{1, 40000, 1}, Sizes{2, 70, 65}, Sizes{2, 20, 3}}) {
    const int64_t n = s.outer * s.n * s.inner;
    for (int64_t at : {int64_t{0}, n / 3, n / 2, n - 1}) {
      auto x = draw<float>(n);
      x[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
      const auto max = run(x, s, 1).max;
      const int64_t hit = at / (s.n * s.inner) * s.inner + at % s.inner;
      for (int64_t i = 0; i < s.outer * s.inner; ++i)
        ASSERT_EQ(std::isnan(max[static_cast<size_t>(i)]), i == hit) << n << " " << at;
    }
  }
}

TEST(Reduce, InfinitiesAreNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(run<float>({-inf, -inf, -inf}, {1, 3, 1}, 1).max[0], -inf);
  EXPECT_EQ(run<float>({1, inf, -3}, {1, 3, 1}, 1).max[0], inf);
  EXPECT_EQ(run<float>({1, inf, -3}, {1, 3, 1}, 1).sum[0], inf);
  EXPECT_TRUE(std::isnan(run<float>({inf, -inf}, {1, 2, 1}, 1).sum[0]));
}

}  // namespace
}  // namespace rein::kernels
