#include "rein/kernels/lstm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/lstm_problem.h"

namespace rein::kernels {
namespace {

class LstmOfSizes : public testing::TestWithParam<LstmSizes> {};
INSTANTIATE_TEST_SUITE_P(Lstm, LstmOfSizes,
                         testing::Values(LstmSizes{1, 1, 1, 1},       // nothing smaller
                                         LstmSizes{1, 3, 2, 5},       // one step
                                         LstmSizes{7, 1, 4, 16},      // one row
                                         LstmSizes{4, 3, 0, 9},       // no inputs
                                         LstmSizes{3, 0, 2, 4},       // no rows
                                         LstmSizes{5, 2, 3, 17},      // a vector and a tail
                                         LstmSizes{3, 5, 31, 33},     //
                                         LstmSizes{300, 1, 3, 8},     // inputs in two products
                                         LstmSizes{20, 50, 11, 64},   // tiles of unlike size
                                         LstmSizes{28, 128, 28, 32},  // eight tiles
                                         LstmSizes{2, 64, 200, 130},  //
                                         LstmSizes{2, 3, 1200, 110},  // x multiplied ahead
                                         LstmSizes{3, 2, 90, 520}));  // few rows, many units

TEST_P(LstmOfSizes, FusedAgreesWithThePlainTwinInDouble) {
  Problem<double> plain(GetParam());
  run(plain, plain.backward());
  for_each_target([&](const char* target) {
    SCOPED_TRACE(target);
    Problem<float> fused(GetParam());
    run(fused, fused.backward(), 1);
    expect_same(fused, plain);
  });
}

TEST_P(LstmOfSizes, SaturatedGatesStayInTheirRange) {
  Problem<float> fused(GetParam(), 40);
  run(fused, fused.backward(), 1);
  // Sums of hundreds are rounded by 1e-5, and steps behind a gate that is not saturated go their
  // own way; what is asked here is that nothing leaves its range.
  for (float g : fused.gates) EXPECT_LE(std::abs(g), 1);
  for (float h : fused.outputs) EXPECT_LE(std::abs(h), 1);
  for (const auto& [name, array] : fused.results())
    for (float v : *array) EXPECT_TRUE(std::isfinite(v)) << name;
}

TEST_P(LstmOfSizes, AnyNumberOfThreadsGivesTheSameBits) {
  Problem<float> one(GetParam());
  run(one, one.backward(), 1);
  for (int threads : {2, 3}) {
    Problem<float> other(GetParam());
    run(other, other.backward(), threads);
    for (size_t i = 0; i < one.results().size(); ++i) {
      const auto [name, a] = one.results()[i];
      const auto& b = *other.results()[i].second;
      const bool same =
          b.empty() || std::memcmp(a->data(), b.data(), b.size() * sizeof(float)) == 0;
      EXPECT_TRUE(same) << name;
    }
  }
}

// What the loss does not use comes as null; the rest must be as if it were zero.
TEST(Lstm, AbsentUpstreamIsZero) {
  for (int used = 0; used < 8; ++used) {
    Problem<float> fused({.steps = 4, .batch = 9, .inputs = 3, .units = 10});
    Problem<double> plain(fused.s);
    auto backward = fused.backward();
    if (!(used & 1)) backward.d_outputs = nullptr, plain.d_outputs.assign(9 * 10 * 4, 0);
    if (!(used & 2)) backward.d_h = nullptr, plain.d_h.assign(9 * 10, 0);
    if (!(used & 4)) backward.d_c = nullptr, plain.d_c.assign(9 * 10, 0);
    run(fused, backward, 1);
    run(plain, plain.backward());
    expect_same(fused, plain);
  }
}

// Results nobody asks for are null; the others must not change by a bit.
TEST(Lstm, WhatIsAskedForDoesNotDependOnTheRest) {
  Problem<float> all({.steps = 4, .batch = 9, .inputs = 3, .units = 10});
  run(all, all.backward(), 1);
  for (int asked = 0; asked < 8; ++asked) {
    Problem<float> some(all.s);
    auto backward = some.backward();
    if (!(asked & 1)) backward.dx = nullptr, some.dx = all.dx;
    if (!(asked & 2)) {
      backward.dkernel = backward.dbias = nullptr;
      some.dkernel = all.dkernel, some.dbias = all.dbias;
    }
    if (!(asked & 4)) {
      backward.dh0 = backward.dc0 = nullptr;
      some.dh0 = all.dh0, some.dc0 = all.dc0;
    }
    run(some, backward, 1);
    for (size_t i = 0; i < all.results().size(); ++i)
      EXPECT_EQ(*some.results()[i].second, *all.results()[i].second) << all.results()[i].first;
  }
}

TEST(Lstm, NanStaysInItsRowAndReachesTheEnd) {
  Problem<float> p({.steps = 5, .batch = 40, .inputs = 3, .units = 20});
  const int64_t step = 2, row = 17;
  p.x[static_cast<size_t>((step * p.s.batch + row) * p.s.inputs)] =
      std::numeric_limits<float>::quiet_NaN();
  run(p, p.backward(), 1);
  for (int64_t t = 0; t < p.s.steps; ++t)
    for (int64_t b = 0; b < p.s.batch; ++b)
      for (int64_t u = 0; u < p.s.units; ++u) {
        const auto at = static_cast<size_t>((t * p.s.batch + b) * p.s.units + u);
        EXPECT_EQ(std::isnan(p.outputs[at]), b == row && t >= step) << t << " " << b << " " << u;
      }
  for (float v : p.dkernel) EXPECT_TRUE(std::isnan(v));
}

TEST(Lstm, ForgetBiasIsAddedToTheForgetGate) {
  Problem<double> p({.steps = 1, .batch = 1, .inputs = 1, .units = 1});
  p.kernel.assign(8, 0);
  p.bias = {0, 0, 0.25, 0};
  auto forward = p.forward();
  forward.forget_bias = 0.5;
  ref::lstm_forward(p.s, forward);
  EXPECT_DOUBLE_EQ(p.gates[2], 1 / (1 + std::exp(-0.75)));
  EXPECT_DOUBLE_EQ(p.cells[0], p.c0[0] / (1 + std::exp(-0.75)));
}

}  // namespace
}  // namespace rein::kernels
