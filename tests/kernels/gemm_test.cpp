#include "rein/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "rein/base/random.h"

namespace rein::kernels {
namespace {

template <class T>
std::vector<T> draw(int64_t n, uint64_t stream) {
  const RandomStream random(Seed{1}, stream);
  std::vector<T> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(random.normal(i));
  return x;
}

struct Case {
  int64_t m, n, k;
};
// Below and above the plain loop, one row, odd edges, several tiles of rows or of columns.
constexpr Case kCases[] = {{1, 1, 1},     {15, 20, 9},   {16, 20, 9},    {3, 5, 7},
                           {1, 512, 128}, {17, 33, 65},  {128, 512, 28}, {300, 257, 64},
                           {40, 700, 90}, {129, 64, 515}};

template <class T>
class Gemm : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Gemm, Types);

// Largest difference from the plain twin in double, as a share of what rounding may make in any
// order of summation: (k + 2) roundings of the sum of the absolute products.
template <class T>
double error(const Case& s, Trans ta, Trans tb, T beta, int threads, std::vector<T>* result) {
  const int64_t pad = 3;  // rows longer than what is used
  const int64_t lda = (ta == Trans::yes ? s.m : s.k) + pad;
  const int64_t ldb = (tb == Trans::yes ? s.k : s.n) + pad, ldc = s.n + pad;
  const auto a = draw<T>((ta == Trans::yes ? s.k : s.m) * lda, 1);
  const auto b = draw<T>((tb == Trans::yes ? s.n : s.k) * ldb, 2);
  auto c = draw<T>(s.m * ldc, 3);
  if (beta == 0) c.assign(c.size(), std::numeric_limits<T>::quiet_NaN());
  const std::vector<double> a2(a.begin(), a.end()), b2(b.begin(), b.end());
  std::vector<double> want(c.begin(), c.end()), magnitude(c.size());
  const auto absolute = [](std::vector<double> x) {
    for (double& v : x) v = std::abs(v);
    return x;
  };
  if (beta != 0) magnitude = absolute(want);
  ref::gemm<double>(ta, tb, s.m, s.n, s.k, a2.data(), lda, b2.data(), ldb, beta, want.data(), ldc);
  ref::gemm<double>(ta, tb, s.m, s.n, s.k, absolute(a2).data(), lda, absolute(b2).data(), ldb,
                    std::abs(beta), magnitude.data(), ldc);
  const double rounding =
      static_cast<double>(s.k + 2) * static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

  const auto before = c;
  std::vector<std::byte> scratch(gemm_scratch_bytes<T>(tb, s.m, s.n, s.k));
  ThreadTeam team(threads);
  gemm<T>(team, ta, tb, s.m, s.n, s.k, a.data(), lda, b.data(), ldb, beta, c.data(), ldc,
          scratch.data());
  double worst = 0;
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      const auto at = static_cast<size_t>(i * ldc + j);
      if (j < s.n)
        worst = std::max(
            worst, std::abs(static_cast<double>(c[at]) - want[at]) / (rounding * magnitude[at]));
      else  // what lies between the rows is not touched
        EXPECT_EQ(std::memcmp(&c[at], &before[at], sizeof(T)), 0);
      EXPECT_FALSE(j < s.n && std::isnan(c[at])) << i << " " << j;
    }
  if (result) *result = c;
  return worst;
}

TYPED_TEST(Gemm, AgreesWithThePlainTwin) {
  for (const Case& s : kCases)
    for (Trans ta : {Trans::no, Trans::yes})
      for (Trans tb : {Trans::no, Trans::yes})
        for (TypeParam beta : {TypeParam{0}, TypeParam{1}, TypeParam{-0.5}})
          // The double twin rounds as well, so for double the bound counts twice.
          EXPECT_LE((error<TypeParam>(s, ta, tb, beta, 1, nullptr)), 2)
              << s.m << "x" << s.n << "x" << s.k << (ta == Trans::yes ? " T" : " N")
              << (tb == Trans::yes ? "T" : "N") << " beta " << beta;
}

TYPED_TEST(Gemm, AnyNumberOfThreadsGivesTheSameBits) {
  for (const Case& s : kCases)
    for (Trans tb : {Trans::no, Trans::yes}) {
      std::vector<TypeParam> one, other;
      error<TypeParam>(s, Trans::no, tb, 0, 1, &one);
      for (int threads : {2, 3}) {
        error<TypeParam>(s, Trans::no, tb, 0, threads, &other);
        EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(TypeParam)), 0)
            << s.m << "x" << s.n << "x" << s.k << ", " << threads << " threads";
      }
    }
}

TYPED_TEST(Gemm, NoInnerSizeLeavesBetaTimesC) {
  ThreadTeam team;
  std::vector<TypeParam> c{1, 2, 3, 4};
  const TypeParam* none = nullptr;
  gemm<TypeParam>(team, Trans::no, Trans::no, 2, 2, 0, none, 1, none, 2, 2, c.data(), 2, nullptr);
  EXPECT_EQ(c, (std::vector<TypeParam>{2, 4, 6, 8}));
  gemm<TypeParam>(team, Trans::no, Trans::no, 2, 2, 0, none, 1, none, 2, 0, c.data(), 2, nullptr);
  EXPECT_EQ(c, (std::vector<TypeParam>{0, 0, 0, 0}));
}

TYPED_TEST(Gemm, TransposeMovesEveryElement) {
  for_each_target([](const char* target) {
    for (auto [rows, columns] : {std::pair{1, 40}, std::pair{17, 16}, std::pair{33, 50}}) {
      const int from_stride = columns + 3, to_stride = rows + 1;
      const auto x = draw<TypeParam>(rows * from_stride, 4);
      std::vector<TypeParam> y(static_cast<size_t>(columns * to_stride), TypeParam{7});
      transpose<TypeParam>(rows, columns, x.data(), from_stride, y.data(), to_stride);
      for (int j = 0; j < columns; ++j)
        for (int i = 0; i < to_stride; ++i)
          EXPECT_EQ(y[static_cast<size_t>(j * to_stride + i)],
                    i < rows ? x[static_cast<size_t>(i * from_stride + j)] : TypeParam{7})
              << target;
    }
  });
}

TEST(GemmSelfTest, Passes) {
  for (int threads : {1, 2}) {
    ThreadTeam team(threads);
    EXPECT_TRUE(gemm_self_test(team));
  }
}

}  // namespace
}  // namespace rein::kernels
