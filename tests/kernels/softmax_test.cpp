#include "rein/kernels/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/softmax_rows.h"
#include "rein/base/random.h"

namespace rein::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kSentinel = 12345;

// All tail lengths of vectors of up to 16 floats, and long rows.
std::vector<int64_t> lengths() {
  std::vector<int64_t> all;
  for (int64_t n = 1; n <= 67; ++n) all.push_back(n);
  for (int64_t n : {1000, 20011}) all.push_back(n);
  return all;
}

std::vector<float> normals(int64_t n, uint64_t stream, double stddev = 1) {
  const RandomStream random(Seed{5}, stream);
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(stddev * random.normal(i));
  return x;
}

std::vector<double> to_double(const std::vector<float>& x) { return {x.begin(), x.end()}; }

// Roundings of a sum of n terms in float: about the root of their number, each 6e-8; of a row of
// 20011 they add up in at least four lanes.
double tolerance(int64_t n) { return 4 * 6e-8 * (4 + std::sqrt(static_cast<double>(n) / 4)); }

TEST(SoftmaxRows, AreTheirTwinsAtEveryLength) {
  for_each_target([](const char* target) {
    for (int64_t n : lengths()) {
      SCOPED_TRACE(testing::Message() << target << ", " << n << " classes");
      const auto x = normals(n, 1, 4), z = normals(n, 2);
      const auto xd = to_double(x), zd = to_double(z);
      const size_t size = x.size();

      std::vector<double> want_e(size);
      const auto want = ref::exp_row(xd.data(), want_e.data(), n);
      std::vector<float> e(size + 1, kSentinel);
      const auto got = simd::exp_row(x.data(), e.data(), n);
      EXPECT_EQ(static_cast<double>(got.max), want.max);
      EXPECT_NEAR(got.sum / want.sum, 1, tolerance(n));
      // x - max is rounded once: an error of 6e-8 times its size, here at most 30, goes into exp.
      for (size_t k = 0; k < size; ++k)
        EXPECT_NEAR(static_cast<double>(e[k]), want_e[k], 2e-6 * want_e[k]);
      EXPECT_EQ(e[size], kSentinel);
      float* nowhere = nullptr;
      EXPECT_EQ(simd::exp_row(x.data(), nowhere, n).sum, got.sum);

      double magnitude = 0;
      for (size_t k = 0; k < size; ++k) magnitude += std::abs(zd[k] * (2.5 - (xd[k] - want.max)));
      const double want_loss = ref::cross_entropy_row(zd.data(), xd.data(), want.max, 2.5, n);
      const float loss = simd::cross_entropy_row(z.data(), x.data(), got.max, 2.5f, n);
      EXPECT_NEAR(loss, want_loss, tolerance(n) * magnitude);

      std::vector<double> want_s(size);
      ref::sigmoid_cross_entropy_row(zd.data(), xd.data(), want_s.data(), n);
      std::vector<float> s(size + 1, kSentinel);
      simd::sigmoid_cross_entropy_row(z.data(), x.data(), s.data(), n);
      // A few roundings of terms of the size of |x z| and |x|.
      for (size_t k = 0; k < size; ++k)
        EXPECT_NEAR(static_cast<double>(s[k]), want_s[k],
                    3e-7 * (1 + std::abs(xd[k]) * (1 + std::abs(zd[k]))));
      EXPECT_EQ(s[size], kSentinel);
    }
  });
}

// The same kind of number: NaN, an infinity of one sign, or finite and near.
void expect_alike(float got, float want) {
  if (std::isnan(want))
    EXPECT_TRUE(std::isnan(got)) << got;
  else if (std::isinf(want))
    EXPECT_EQ(got, want);
  else
    EXPECT_NEAR(got, want, 1e-6f * (1 + std::abs(want)));
}

TEST(SoftmaxRows, TreatNonFiniteNumbersAsTheirTwins) {
  const float specials[] = {0, -0.0f, 1, kInf, -kInf, kNaN, 3e38f, -3e38f, 1e-40f};
  for_each_target([&](const char* target) {
    for (int64_t n : {1, 3, 8, 19, 33})
      for (float special : specials)
        for (int64_t at = 0; at < n; ++at)
          for (float rest : {0.5f, -kInf}) {
            SCOPED_TRACE(testing::Message() << target << ": " << special << " at " << at << " of "
                                            << n << ", the others " << rest);
            std::vector<float> x(static_cast<size_t>(n), rest), z(x.size(), 0.25f);
            x[static_cast<size_t>(at)] = special;
            z[0] = 0;
            std::vector<float> e(x.size()), want_e(x.size());
            const auto got = simd::exp_row(x.data(), e.data(), n);
            const auto want = ref::exp_row(x.data(), want_e.data(), n);
            expect_alike(got.sum, want.sum);
            if (!std::isnan(want.sum)) {
              expect_alike(got.max, want.max);
              for (size_t k = 0; k < x.size(); ++k) expect_alike(e[k], want_e[k]);
            }
            expect_alike(
                simd::cross_entropy_row(z.data(), x.data(), got.max, std::log(got.sum), n),
                ref::cross_entropy_row(z.data(), x.data(), want.max, std::log(want.sum), n));
            std::vector<float> s(x.size()), want_s(x.size());
            simd::sigmoid_cross_entropy_row(z.data(), x.data(), s.data(), n);
            ref::sigmoid_cross_entropy_row(z.data(), x.data(), want_s.data(), n);
            for (size_t k = 0; k < x.size(); ++k) expect_alike(s[k], want_s[k]);
          }
  });
}

// The whole kernels against the definitions, in double.
template <class T>
void expect_definitions(int64_t rows, int64_t n, double tolerance) {
  ThreadTeam team(2);
  const auto xs = normals(rows * n, 1, 3), zs = normals(rows * n, 2), ups = normals(rows, 3);
  const std::vector<T> x(xs.begin(), xs.end()), z(zs.begin(), zs.end()), up(ups.begin(), ups.end());
  std::vector<int32_t> labels(static_cast<size_t>(rows));
  for (size_t r = 0; r < labels.size(); ++r)
    labels[r] = static_cast<int32_t>(static_cast<int64_t>(r) * 5 % n);
  std::vector<T> p(x.size()), log_p(x.size()), d(x.size()), sparse_d(x.size());
  std::vector<T> loss(up.size()), sparse_loss(up.size());
  softmax(team, x.data(), p.data(), rows, n);
  log_softmax(team, x.data(), log_p.data(), rows, n);
  cross_entropy(team, z.data(), x.data(), loss.data(), rows, n);
  cross_entropy_grad(team, z.data(), x.data(), up.data(), d.data(), rows, n);
  sparse_cross_entropy(team, x.data(), labels.data(), sparse_loss.data(), rows, n);
  sparse_cross_entropy_grad(team, x.data(), labels.data(), up.data(), sparse_d.data(), rows, n);
  for (size_t r = 0; r < up.size(); ++r) {
    double sum = 0, want_loss = 0, magnitude = 1;
    const size_t classes = static_cast<size_t>(n), at = r * classes;
    for (size_t k = 0; k < classes; ++k) sum += std::exp(double{x[at + k]});
    for (size_t k = 0; k < classes; ++k) {
      const double want_log = double{x[at + k]} - std::log(sum), want = std::exp(want_log);
      const double g = up[r], hit = k == static_cast<size_t>(labels[r]) ? 1 : 0;
      want_loss -= double{z[at + k]} * want_log;
      magnitude += std::abs(double{z[at + k]} * want_log);
      ASSERT_NEAR(double{p[at + k]}, want, tolerance);
      ASSERT_NEAR(double{log_p[at + k]}, want_log, tolerance * (1 - want_log));
      ASSERT_NEAR(double{d[at + k]}, g * (want - double{z[at + k]}), tolerance * 8);
      ASSERT_NEAR(double{sparse_d[at + k]}, g * (want - hit), tolerance * 8);
      if (hit > 0) {
        ASSERT_NEAR(double{sparse_loss[r]}, -want_log, tolerance * (1 - want_log));
      }
    }
    ASSERT_NEAR(double{loss[r]}, want_loss, tolerance * magnitude);
  }
}

TEST(Softmax, IsItsDefinition) {
  for (const auto& [rows, n] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {128, 10}, {700, 67}}) {
    expect_definitions<float>(rows, n, 4 * tolerance(n));
    expect_definitions<double>(rows, n, 1e-13);
  }
}

TEST(Softmax, DoesNotOverflowOrVanish) {
  ThreadTeam team(1);
  const std::vector<float> x{1e4f, -1e4f, 0, -1e4f, -1e4f, -1e4f};
  std::vector<float> p(6), log_p(6);
  softmax(team, x.data(), p.data(), 2, 3);
  log_softmax(team, x.data(), log_p.data(), 2, 3);
  EXPECT_EQ(p[0], 1);
  EXPECT_EQ(p[1], 0);
  EXPECT_EQ(log_p[0], 0);
  EXPECT_EQ(log_p[1], -2e4f);
  for (size_t k = 3; k < 6; ++k) {
    EXPECT_NEAR(p[k], 1.0 / 3, 1e-7);
    EXPECT_NEAR(log_p[k], -std::log(3.0), 1e-6);
  }
}

TEST(CrossEntropy, OfMinusInfinityIsAsInTensorFlow) {
  ThreadTeam team(1);
  const std::vector<float> x{-kInf, 0.5f, 1.5f}, z{0, 0, 1}, one{1};
  const int64_t label = 2, target = 0;
  float loss = 0;
  std::vector<float> d(3);
  cross_entropy(team, z.data(), x.data(), &loss, 1, 3);
  EXPECT_TRUE(std::isnan(loss));  // 0 times infinity
  cross_entropy_grad(team, z.data(), x.data(), one.data(), d.data(), 1, 3);
  EXPECT_EQ(d[0], 0);
  EXPECT_NEAR(d[1], 0.26894143, 1e-7);
  EXPECT_NEAR(d[2], -0.26894143, 1e-7);
  sparse_cross_entropy(team, x.data(), &label, &loss, 1, 3);
  EXPECT_NEAR(loss, 0.31326166, 1e-6);
  sparse_cross_entropy(team, x.data(), &target, &loss, 1, 3);
  EXPECT_EQ(loss, kInf);
}

TEST(SparseCrossEntropy, ALabelOutsideGivesNaNInItsRowAlone) {
  ThreadTeam team(1);
  const std::vector<double> x{1, 2, 3, 4, 5, 6}, up{1, 1, 1};
  for (int64_t outside : {int64_t{-1}, int64_t{2}, std::numeric_limits<int64_t>::min()}) {
    const std::vector<int64_t> labels{0, outside, 1};
    std::vector<double> loss(3), d(6);
    sparse_cross_entropy(team, x.data(), labels.data(), loss.data(), 3, 2);
    sparse_cross_entropy_grad(team, x.data(), labels.data(), up.data(), d.data(), 3, 2);
    for (size_t r = 0; r < 3; ++r) {
      EXPECT_EQ(std::isnan(loss[r]), r == 1);
      EXPECT_EQ(std::isnan(d[2 * r]), r == 1);
      EXPECT_EQ(std::isnan(d[2 * r + 1]), r == 1);
    }
  }
}

TEST(Errors, AreTheirDefinitions) {
  ThreadTeam team(2);
  const int64_t n = 200001;  // several tiles
  const auto a = normals(n, 1), b = normals(n, 2);
  std::vector<float> squared(a.size()), absolute(a.size());
  squared_error(team, a.data(), b.data(), squared.data(), n);
  absolute_error(team, a.data(), b.data(), absolute.data(), n);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(squared[i], (a[i] - b[i]) * (a[i] - b[i]));
    ASSERT_EQ(absolute[i], std::abs(a[i] - b[i]));
  }
}

}  // namespace
}  // namespace rein::kernels
