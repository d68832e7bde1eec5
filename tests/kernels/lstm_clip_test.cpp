// The limits of the LSTM: of the cell, of dz, and of what a step hands back.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/lstm_problem.h"

namespace rein::kernels {
namespace {

constexpr double kNone = kNoLimit<double>;

struct Limits {
  double cell = kNone, gate = kNone, state = kNone;
  bool straight_through = true;
};
// All of them bind in these problems: c reaches 1, dz 0.2, and [dc, dh] of a row sqrt(H / 2).
Limits binding(const LstmSizes& s) {
  return {.cell = 0.4, .gate = 0.05, .state = 0.2 * std::sqrt(static_cast<double>(s.units))};
}

template <class T>
Problem<T> clipped(const LstmSizes& s, const Limits& limits, int threads = 1) {
  Problem<T> p(s);
  auto forward = p.forward();
  auto backward = p.backward();
  forward.cell_clip = static_cast<T>(limits.cell);
  if (!limits.straight_through) backward.cell_clip = forward.cell_clip;
  backward.gate_clip = static_cast<T>(limits.gate);
  backward.state_clip = static_cast<T>(limits.state);
  run(p, forward, backward, threads);
  return p;
}

template <class T>
bool same_bits(const Problem<T>& a, const Problem<T>& b) {
  for (size_t i = 0; i < a.results().size(); ++i) {
    const auto &x = *a.results()[i].second, &y = *b.results()[i].second;
    if (!x.empty() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) != 0) return false;
  }
  return true;
}

class ClippedLstm : public testing::TestWithParam<LstmSizes> {};
INSTANTIATE_TEST_SUITE_P(Lstm, ClippedLstm,
                         testing::Values(LstmSizes{1, 1, 1, 1},     // nothing smaller
                                         LstmSizes{3, 0, 2, 4},     // no rows
                                         LstmSizes{7, 1, 4, 16},    // one row
                                         LstmSizes{5, 2, 3, 17},    // a vector and a tail
                                         LstmSizes{6, 50, 11, 40},  // tiles of unlike size
                                         LstmSizes{3, 2, 30,
                                                   200}));  // few rows, units enough to share

TEST_P(ClippedLstm, FusedAgreesWithThePlainTwinInDouble) {
  Limits all = binding(GetParam());
  std::vector<Limits> rows{{.cell = all.cell}, {.gate = all.gate}, {.state = all.state}, all};
  // A cell next to its limit is clipped in one type and not in the other; with few cells there is
  // none.
  if (GetParam().batch * GetParam().units < 100) {
    all.straight_through = false;
    rows.push_back(all);
  }
  for (const Limits& limits : rows) {
    SCOPED_TRACE(testing::Message() << limits.cell << " " << limits.gate << " " << limits.state);
    const auto plain = clipped<double>(GetParam(), limits);
    if (plain.s.batch > 0 && plain.s.units > 1) {
      EXPECT_FALSE(same_bits(plain, clipped<double>(GetParam(), {})));
    }
    for_each_target([&](const char* target) {
      SCOPED_TRACE(target);
      expect_same(clipped<float>(GetParam(), limits), plain);
    });
  }
}

TEST_P(ClippedLstm, AnyNumberOfThreadsGivesTheSameBits) {
  Limits limits = binding(GetParam());
  for (bool straight_through : {false, true}) {
    limits.straight_through = straight_through;
    const auto one = clipped<float>(GetParam(), limits);
    for (int threads : {2, 3}) {
      EXPECT_TRUE(same_bits(one, clipped<float>(GetParam(), limits, threads))) << threads;
    }
  }
}

TEST_P(ClippedLstm, LimitsThatNothingReachesChangeNoBit) {
  const Limits far{.cell = 1e9, .gate = 1e9, .state = 1e9, .straight_through = false};
  EXPECT_TRUE(same_bits(clipped<float>(GetParam(), far), clipped<float>(GetParam(), {})));
  EXPECT_TRUE(same_bits(clipped<double>(GetParam(), far), clipped<double>(GetParam(), {})));
}

// ---------------------------------------------------------------- effects

// As many inputs as gates, and an identity between them: dx is dz.
template <class T>
Problem<T> with_visible_dz() {
  Problem<T> p({.steps = 6, .batch = 5, .inputs = 4 * 9, .units = 9});
  const auto width = static_cast<size_t>(p.s.inputs);
  for (size_t i = 0; i < width; ++i)
    for (size_t k = 0; k < width; ++k) p.kernel[i * width + k] = i == k ? 1 : 0;
  // Whatever the steps do: h's weights are large enough for the error to grow.
  for (size_t i = width * width; i < p.kernel.size(); ++i) p.kernel[i] *= 20;
  std::fill(p.d_outputs.begin(), p.d_outputs.end(), T{0});
  p.d_h = p.d_c = p.c0;
  return p;
}

template <class T>
void plant(Problem<T>& p, int64_t step, T size) {
  const auto n = static_cast<size_t>(p.s.batch * p.s.units);
  std::fill_n(p.d_outputs.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(step) * n), n,
              size);
}

template <class T>
T largest(const std::vector<T>& x, size_t from, size_t to) {
  T most = 0;
  for (size_t i = from; i < to; ++i) most = std::max(most, std::abs(x[i]));
  return most;
}

template <class T>
class LstmLimits : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(LstmLimits, Types);

TYPED_TEST(LstmLimits, ALargeUpstreamIsHeldAtEveryStep) {
  using T = TypeParam;
  const T bound = 0.125;
  for (bool limited : {false, true}) {
    auto p = with_visible_dz<T>();
    plant<T>(p, 4, 1e6);
    auto backward = p.backward();
    if (limited) backward.gate_clip = bound;
    run(p, backward);
    const size_t step = p.dx.size() / static_cast<size_t>(p.s.steps);
    for (size_t t = 0; t < 5; ++t) {
      const T dz = largest(p.dx, t * step, (t + 1) * step);
      if (limited)
        EXPECT_LE(dz, bound) << t;
      else
        EXPECT_GT(dz, 100 * bound) << t;
    }
    if (limited) {
      EXPECT_EQ(largest(p.dx, 4 * step, 5 * step), bound);  // and it does reach it
    }
  }
}

// Length of [dc0, dh0] in a row.
template <class T>
double length_of(const Problem<T>& p, int64_t row) {
  double squares = 0;
  for (const auto* d : {&p.dc0, &p.dh0})
    for (int64_t u = 0; u < p.s.units; ++u)
      squares += std::pow(static_cast<double>((*d)[static_cast<size_t>(row * p.s.units + u)]), 2);
  return std::sqrt(squares);
}

TYPED_TEST(LstmLimits, WhatIsHandedBackIsNoLongerThanTheLimitAndPointsTheSameWay) {
  using T = TypeParam;
  Problem<T> free({.steps = 1, .batch = 4, .inputs = 2, .units = 7});
  for (int64_t u = 0; u < 7; ++u) {  // one row that is short anyway
    const auto at = static_cast<size_t>(3 * 7 + u);
    free.d_outputs[at] = free.d_h[at] = free.d_c[at] = T(0.001);
  }
  Problem<T> held = free;
  run(free, free.backward());
  auto backward = held.backward();
  backward.state_clip = T(0.25);
  run(held, backward);
  for (int64_t row = 0; row < 4; ++row) {
    const double before = length_of(free, row);
    const double scale = row == 3 ? 1 : 0.25 / before;
    if (row != 3) {
      EXPECT_GT(before, 0.5);
    }
    for (size_t k = static_cast<size_t>(row * 7); k < static_cast<size_t>(row * 7 + 7); ++k) {
      // One rounding of the scale and one of the product.
      const double tolerance = 2 * static_cast<double>(std::numeric_limits<T>::epsilon());
      EXPECT_NEAR(held.dh0[k], scale * static_cast<double>(free.dh0[k]), tolerance);
      EXPECT_NEAR(held.dc0[k], scale * static_cast<double>(free.dc0[k]), tolerance);
    }
  }
  EXPECT_EQ(held.dx, free.dx);  // of this step, which nothing was handed back to
  EXPECT_EQ(held.dkernel, free.dkernel);
}

TYPED_TEST(LstmLimits, ALargeUpstreamIsHandedBackAtTheLimit) {
  using T = TypeParam;
  for (bool limited : {false, true}) {
    auto p = with_visible_dz<T>();
    plant<T>(p, 4, 1e6);
    auto backward = p.backward();
    if (limited) backward.state_clip = 2;
    run(p, backward);
    const size_t step = p.dx.size() / static_cast<size_t>(p.s.steps);
    // |dz| of a gate is at most |d_cell| or |dh| times (1, |c|) / 4 or 1; |c| stays below 10 here.
    const T before = largest(p.dx, 0, 4 * step);
    if (limited)
      EXPECT_LE(before, 2 * 10);
    else
      EXPECT_GT(before, 1000);
    EXPECT_GT(largest(p.dx, 4 * step, 5 * step), 1000);  // the step itself is not clipped
    for (int64_t row = 0; row < p.s.batch; ++row) {
      if (limited) {
        EXPECT_LE(length_of(p, row), 2 * (1 + 1e-6)) << row;
      }
    }
  }
}

TYPED_TEST(LstmLimits, FloatsWhoseSquaresOverflowAreScaled) {
  Problem<TypeParam> p({.steps = 1, .batch = 2, .inputs = 1, .units = 3});
  std::fill(p.d_c.begin(), p.d_c.end(), TypeParam(1e30));
  auto backward = p.backward();
  backward.state_clip = 3;
  run(p, backward);
  for (int64_t row = 0; row < 2; ++row) EXPECT_NEAR(length_of(p, row), 3, 1e-5);  // 10 roundings
}

// An infinite input saturates gates and leaves gradients finite: such a row is scaled like others,
// whatever becomes of lanes past the last unit.
TYPED_TEST(LstmLimits, ARowWithAnInfiniteInputIsScaled) {
  using T = TypeParam;
  Problem<T> p({.steps = 2, .batch = 3, .inputs = 2, .units = 5});
  p.x[static_cast<size_t>((1 * p.s.batch + 1) * p.s.inputs)] = std::numeric_limits<T>::infinity();
  auto backward = p.backward();
  backward.state_clip = T(0.01);
  run(p, backward);
  EXPECT_NEAR(length_of(p, 1), 0.01, 1e-7);  // 10 roundings
}

TYPED_TEST(LstmLimits, NanPassesAndStaysInItsRow) {
  using T = TypeParam;
  auto p = with_visible_dz<T>();
  auto limits = [](Problem<T>& problem) {
    auto backward = problem.backward();
    backward.gate_clip = T(0.1), backward.state_clip = T(0.5);
    return backward;
  };
  auto good = p;
  run(good, limits(good));
  p.d_outputs[static_cast<size_t>((3 * p.s.batch + 2) * p.s.units)] =
      std::numeric_limits<T>::quiet_NaN();  // step 3, row 2, unit 0
  run(p, limits(p));
  for (int64_t t = 0; t < p.s.steps; ++t)
    for (int64_t row = 0; row < p.s.batch; ++row)
      for (int64_t k = 0; k < p.s.inputs; ++k) {
        const auto at = static_cast<size_t>((t * p.s.batch + row) * p.s.inputs + k);
        if (row == 2 && t <= 3)  // NaN times the identity's zeros is NaN too
          EXPECT_TRUE(std::isnan(p.dx[at])) << t << " " << row << " " << k;
        else
          EXPECT_EQ(p.dx[at], good.dx[at]) << t << " " << row << " " << k;
      }
}

TYPED_TEST(LstmLimits, CellsStayInTheirLimitAndNanPasses) {
  using T = TypeParam;
  Problem<T> p({.steps = 4, .batch = 3, .inputs = 2, .units = 5});
  p.c0[7] = std::numeric_limits<T>::quiet_NaN();
  p.c0[8] = 100;
  auto forward = p.forward();
  forward.cell_clip = T(0.25);
  run(p, forward, p.backward());
  bool reached = false;
  for (size_t k = 0; k < p.c.size(); ++k) {
    EXPECT_EQ(std::isnan(p.c[k]), k == 7 || std::isnan(p.outputs[p.outputs.size() - 15 + k]));
    if (!std::isnan(p.c[k])) {
      EXPECT_LE(std::abs(p.c[k]), T(0.25));
    }
    reached |= std::abs(p.c[k]) == T(0.25);
  }
  EXPECT_TRUE(std::isnan(p.c[7]));
  EXPECT_TRUE(reached);
}

// One unit by hand, with gates of 1/2 and j = 0: c = c0 / 2.
TYPED_TEST(LstmLimits, AClippedCellHasBothGradients) {
  using T = TypeParam;
  for (T c0 : {T(1), T(4)})
    for (bool straight_through : {false, true}) {
      Problem<T> p({.steps = 1, .batch = 1, .inputs = 1, .units = 1});
      std::fill(p.kernel.begin(), p.kernel.end(), T{0});
      std::fill(p.bias.begin(), p.bias.end(), T{0});
      p.c0 = {c0}, p.d_outputs = {0}, p.d_h = {0}, p.d_c = {1};
      auto forward = p.forward();
      auto backward = p.backward();
      forward.forget_bias = 0, forward.cell_clip = 1;
      if (!straight_through) backward.cell_clip = 1;
      run(p, forward, backward);
      const bool is_clipped = c0 == 4;
      EXPECT_NEAR(p.c[0], is_clipped ? T(1) : T(0.5), 1e-6);
      EXPECT_NEAR(p.dc0[0], is_clipped && !straight_through ? 0 : 0.5, 1e-6);
    }
}

}  // namespace
}  // namespace rein::kernels
