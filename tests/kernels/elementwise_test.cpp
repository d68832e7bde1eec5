#include "rein/kernels/elementwise.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/elementwise_rows.h"

namespace rein::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kMin = std::numeric_limits<float>::min();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

constexpr Unary kRoundedOnce[] = {Unary::neg, Unary::sqrt, Unary::square,
                                  Unary::abs, Unary::sign, Unary::relu};
constexpr Unary kApproximated[] = {Unary::exp, Unary::log, Unary::tanh, Unary::sigmoid,
                                   Unary::softplus};
constexpr Binary kBinaries[] = {
    Binary::add,     Binary::sub,     Binary::mul,       Binary::div,          Binary::maximum,
    Binary::minimum, Binary::greater, Binary::tanh_grad, Binary::sigmoid_grad, Binary::relu_grad};
constexpr Ternary kTernaries[] = {Ternary::clip, Ternary::where};

const std::vector<float> kSpecial = {0.0f,      -0.0f,      1.0f,   -1.0f, kInf,
                                     -kInf,     kNaN,       kMax,   -kMax, kMin,
                                     kDenormal, -kDenormal, 1e-40f, 3.5f,  -2.25f};

// All NaNs are alike; everything else must be the same bits.
bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Distance from the exact result in units of the last place of float; 0 if y is the exact result
// rounded, infinite if only one of them is finite.
double ulps(float y, double exact) {
  if (same(y, static_cast<float>(exact))) return 0;
  if (!std::isfinite(y) || !std::isfinite(exact)) return kInf;
  const int exponent = exact == 0 ? -1000 : std::ilogb(exact);
  return std::abs(y - exact) / std::ldexp(1.0, std::max(exponent, -126) - 23);
}

std::vector<float> normals(size_t n, uint64_t stream) {
  const RandomStream random(Seed{5}, stream);
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(2 * random.normal(i));
  return x;
}

std::vector<double> exactly(Unary f, const std::vector<float>& x) {
  std::vector<double> wide(x.begin(), x.end());
  ref::unary(f, wide.data(), wide.data(), static_cast<int64_t>(wide.size()));
  return wide;
}

TEST(Elementwise, NearTheExactFunctionEverywhere) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 8191)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (int i = 0; i <= 400000; ++i) x.push_back(static_cast<float>(i * 1e-4 - 20));
  x.insert(x.end(), kSpecial.begin(), kSpecial.end());
  for (Unary f : kApproximated) {
    const auto exact = exactly(f, x);
    for_each_target([&](const char* target) {
      std::vector<float> y(x.size());
      simd::unary(f, x.data(), y.data(), static_cast<int64_t>(x.size()));
      double worst = 0;
      size_t at = 0;
      for (size_t i = 0; i < x.size(); ++i)
        if (const double u = ulps(y[i], exact[i]); u > worst) worst = u, at = i;
      EXPECT_LE(worst, 3) << "function " << static_cast<int>(f) << " on " << target << " at "
                          << x[at] << ": " << y[at] << ", not " << exact[at];
      RecordProperty(std::string(target) + std::to_string(static_cast<int>(f)),
                     std::to_string(worst));
    });
  }
}

TEST(Elementwise, SpecialValuesOfTheApproximatedFunctions) {
  struct Case {
    Unary f;
    float x, y;
  };
  const Case cases[] = {
      {Unary::exp, kNaN, kNaN},
      {Unary::exp, kInf, kInf},
      {Unary::exp, -kInf, 0},
      {Unary::exp, 0, 1},
      {Unary::exp, -0.0f, 1},
      {Unary::exp, 1000, kInf},
      {Unary::exp, -1000, 0},
      {Unary::log, kNaN, kNaN},
      {Unary::log, kInf, kInf},
      {Unary::log, 0, -kInf},
      {Unary::log, -0.0f, -kInf},
      {Unary::log, -1, kNaN},
      {Unary::log, -kInf, kNaN},
      {Unary::log, 1, 0},
      {Unary::log, -kDenormal, kNaN},
      {Unary::tanh, kNaN, kNaN},
      {Unary::tanh, kInf, 1},
      {Unary::tanh, -kInf, -1},
      {Unary::tanh, 0, 0},
      {Unary::tanh, -0.0f, -0.0f},
      {Unary::tanh, kMax, 1},
      {Unary::tanh, -1e-40f, -1e-40f},
      {Unary::sigmoid, kNaN, kNaN},
      {Unary::sigmoid, kInf, 1},
      {Unary::sigmoid, -kInf, 0},
      {Unary::sigmoid, 0, 0.5f},
      {Unary::sigmoid, -kMax, 0},
      {Unary::sigmoid, kMax, 1},
      {Unary::softplus, kNaN, kNaN},
      {Unary::softplus, kInf, kInf},
      {Unary::softplus, -kInf, 0},
      {Unary::softplus, kMax, kMax},
      {Unary::softplus, -kMax, 0},
  };
  for_each_target([&](const char* target) {
    for (const Case& c : cases) {
      float y = 0;
      simd::unary(c.f, &c.x, &y, 1);
      EXPECT_TRUE(same(y, c.y)) << "function " << static_cast<int>(c.f) << " on " << target
                                << " at " << c.x << ": " << y << ", not " << c.y;
    }
  });
}

TEST(Elementwise, SpecialValuesOfTheOthersAreThoseOfThePlainTwin) {
  // All pairs and triples.
  std::vector<float> a, b, c;
  for (float u : kSpecial)
    for (float v : kSpecial)
      for (float w : kSpecial) a.push_back(u), b.push_back(v), c.push_back(w);
  const auto n = static_cast<int64_t>(a.size());
  std::vector<float> want(a.size()), got(a.size());
  const Rows<float> rows{{a.data(), b.data(), c.data()}, {}, {1, 1, 1}, want.data(), 1, n};
  Rows<float> rows_got = rows;
  rows_got.y = got.data();
  for_each_target([&](const char* target) {
    const auto compare = [&](const std::string& function) {
      for (size_t i = 0; i < a.size(); ++i)
        ASSERT_TRUE(same(got[i], want[i]))
            << function << " on " << target << " of " << a[i] << ", " << b[i] << ", " << c[i]
            << ": " << got[i] << ", not " << want[i];
    };
    for (Unary f : kRoundedOnce) {
      ref::unary(f, a.data(), want.data(), n);
      simd::unary(f, a.data(), got.data(), n);
      compare("unary " + std::to_string(static_cast<int>(f)));
    }
    for (Binary f : kBinaries) {
      if (f == Binary::tanh_grad) continue;  // rounded differently, see below
      ref::binary(f, rows);
      simd::binary(f, rows_got);
      compare("binary " + std::to_string(static_cast<int>(f)));
    }
    for (Ternary f : kTernaries) {
      ref::ternary(f, rows);
      simd::ternary(f, rows_got);
      compare("ternary " + std::to_string(static_cast<int>(f)));
    }
  });
}

TEST(Elementwise, TanhGradIsExactToItsRounding) {
  const auto dy = normals(1000, 1);
  auto y = normals(1000, 2);
  for (float& v : y) v = std::tanh(v);
  std::vector<float> dx(1000);
  for_each_target([&](const char* target) {
    simd::binary(Binary::tanh_grad, {{dy.data(), y.data()}, {}, {1, 1}, dx.data(), 1, 1000});
    for (size_t i = 0; i < 1000; ++i) {
      const double exact = double{dy[i]} * (1 - double{y[i]} * y[i]);
      // Without fused multiply-add the rounding of y^2 <= 1 stays: half a unit, 2^-25, then two
      // more roundings of the product.
      ASSERT_NEAR(dx[i], exact, std::abs(dy[i]) * 0x1p-24 + std::abs(exact) * 0x1p-23) << target;
    }
  });
}

// ---------------------------------------------------------------- the walk and the tiles

// Element `flat` of the result of `shape`: where operand `of` stands.
int64_t index_of(int64_t flat, const Shape& shape, const Shape& of) {
  int64_t index = 0, stride = 1;
  for (int back = 1; back <= shape.rank(); ++back) {
    const int64_t at = flat % shape[shape.rank() - back];
    flat /= shape[shape.rank() - back];
    if (back > of.rank()) continue;
    const int64_t size = of[of.rank() - back];
    if (size != 1) index += at * stride;
    stride *= size;
  }
  return index;
}

template <class T>
std::vector<T> numbers(const Shape& shape, uint64_t stream) {
  const auto x = normals(static_cast<size_t>(shape.size()), stream);
  return {x.begin(), x.end()};
}

template <class T>
void expect_broadcast(ThreadTeam& team, const Shape& shape, const Shape& a, const Shape& b,
                      const Shape& c) {
  const auto xa = numbers<T>(a, 1), xb = numbers<T>(b, 2), xc = numbers<T>(c, 3);
  std::vector<T> y(static_cast<size_t>(shape.size()));
  const std::string name = to_string(a) + to_string(b) + to_string(c);
  const auto at = [&](const std::vector<T>& x, size_t i, const Shape& of) {
    return x[static_cast<size_t>(index_of(static_cast<int64_t>(i), shape, of))];
  };
  binary(team, Binary::sub, Broadcast(shape, {&a, &b}), xa.data(), xb.data(), y.data());
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_EQ(y[i], at(xa, i, a) - at(xb, i, b)) << name << " at " << i;
  ternary(team, Ternary::clip, Broadcast(shape, {&a, &b, &c}), xa.data(), xb.data(), xc.data(),
          y.data());
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_EQ(y[i], std::max(std::min(at(xa, i, a), at(xc, i, c)), at(xb, i, b)))
        << name << " at " << i;
}

TEST(Elementwise, BroadcastsWhateverStretches) {
  ThreadTeam team(1);
  const Shape full{2, 3, 5, 4};
  // Every subset of stretched axes, with and without the leading ones written out.
  const auto stretched = [&](unsigned mask, int rank) {
    Shape shape;
    for (int axis = 4 - rank; axis < 4; ++axis) shape.push_back(mask >> axis & 1 ? 1 : full[axis]);
    return shape;
  };
  for (unsigned mask = 0; mask < 16; ++mask)
    for (unsigned other = 0; other < 16; ++other) {
      if ((mask & other) != 0) continue;  // somebody must move along each axis
      expect_broadcast<float>(team, full, stretched(mask, 4), stretched(other, 4), full);
      expect_broadcast<double>(team, full, stretched(mask, 4), stretched(other, 4), Shape{});
    }
  for (int rank = 0; rank <= 4; ++rank)
    expect_broadcast<float>(team, full, full, stretched(0, rank), stretched(2, rank));
}

TEST(Elementwise, TilesCoverEverythingOnAnyTeam) {
  for (int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{
             {{100003}, {100003}},
             {{100003}, {}},
             {{3, 40001}, {40001}},  // rows longer than a tile
             {{3, 40001}, {3, 1}},
             {{401, 257}, {257}},  // several rows a tile
             {{401, 257}, {401, 1}},
             {{31, 41, 53}, {31, 1, 53}}})  // tiles that begin in the middle of an axis
      expect_broadcast<float>(team, a, a, b, a);
  }
}

TEST(Elementwise, NothingIsDoneForNothing) {
  ThreadTeam team(1);
  float y = 5;
  const Shape none{0, 3}, row{3};
  unary<float>(team, Unary::exp, nullptr, &y, 0);
  binary<float>(team, Binary::add, Broadcast(none, {&none, &row}), nullptr, &y, &y);
  EXPECT_EQ(y, 5);
}

TEST(Elementwise, WorksInPlace) {
  ThreadTeam team(1);
  const auto a = normals(37, 1), b = normals(37, 2);
  const Shape shape{37};
  const Broadcast walk(shape, {&shape, &shape});
  std::vector<float> want(37), x = a, z = b;
  unary(team, Unary::tanh, a.data(), want.data(), 37);
  unary(team, Unary::tanh, x.data(), x.data(), 37);
  EXPECT_EQ(x, want);
  binary(team, Binary::sub, walk, a.data(), b.data(), want.data());
  x = a;
  binary(team, Binary::sub, walk, x.data(), b.data(), x.data());
  EXPECT_EQ(x, want);
  binary(team, Binary::sub, walk, a.data(), z.data(), z.data());
  EXPECT_EQ(z, want);
}

// ---------------------------------------------------------------- cast, dropout

TEST(Cast, TruncatesAndSaturates) {
  ThreadTeam team(1);
  const float x[] = {1.9f, -1.9f, 0.0f, 3e9f, -3e9f, 1e30f, -kInf, kNaN};
  int32_t i[8];
  int64_t l[8];
  cast(team, x, i, 8);
  cast(team, x, l, 8);
  constexpr auto kLow = std::numeric_limits<int32_t>::min();
  constexpr auto kHigh = std::numeric_limits<int32_t>::max();
  constexpr auto kLow64 = std::numeric_limits<int64_t>::min();
  constexpr auto kHigh64 = std::numeric_limits<int64_t>::max();
  const int32_t want_i[] = {1, -1, 0, kHigh, kLow, kHigh, kLow, 0};
  const int64_t want_l[] = {1, -1, 0, 3000000000, -3000000000, kHigh64, kLow64, 0};
  for (int k = 0; k < 8; ++k) {
    EXPECT_EQ(i[k], want_i[k]) << x[k];
    EXPECT_EQ(l[k], want_l[k]) << x[k];
  }
  const int64_t whole[] = {-3, 0, 1 << 20};
  float f[3];
  double g[3];
  cast(team, whole, f, 3);
  cast(team, f, g, 3);
  for (int k = 0; k < 3; ++k) EXPECT_EQ(g[k], static_cast<double>(whole[k]));
}

TEST(Dropout, FollowsTheStreamAndScales) {
  constexpr int64_t kCount = 100000;
  const RandomStream random(Seed{3}, 9);
  std::vector<float> x(kCount, 2), y(kCount), mask(kCount), y3(kCount), mask3(kCount);
  x[0] = x[1] = x[2] = x[3] = kInf;  // what is dropped is 0, whatever it was
  ThreadTeam one(1), three(3);
  dropout(one, 0.25, random, x.data(), y.data(), mask.data(), kCount);
  dropout(three, 0.25, random, x.data(), y3.data(), mask3.data(), kCount);
  EXPECT_EQ(y, y3);
  EXPECT_EQ(mask, mask3);
  int64_t dropped = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const bool drop = random.uniform(i) < 0.25;
    dropped += drop;
    ASSERT_EQ(mask[i], drop ? 0 : static_cast<float>(1 / 0.75));
    ASSERT_EQ(y[i], drop ? 0 : x[i] * static_cast<float>(1 / 0.75));
  }
  EXPECT_NEAR(static_cast<double>(dropped), 25000, 5 * 137);  // 5 standard deviations
}

TEST(Dropout, DrawsWhatTheStreamDrawsOnEveryTarget) {
  const RandomStream random(Seed{0x123456789abcdef}, 0xfedcba9876543210);
  for_each_target([&](const char* target) {
    for (int64_t first : {int64_t{0}, (int64_t{1} << 32) - 7})  // both words of the index count
      for (int64_t n = 0; n <= 35; ++n)
        // At a bound that is one of the numbers, equality counts.
        for (double bound : {0.0, 0.3, random.uniform(static_cast<uint64_t>(first) + 2)}) {
          std::vector<uint32_t> flags(static_cast<size_t>(n) + 1, 77);
          simd::uniform_at_least(random, bound, first, flags.data(), n);
          for (int64_t i = 0; i < n; ++i)
            ASSERT_EQ(flags[static_cast<size_t>(i)],
                      random.uniform(static_cast<uint64_t>(first + i)) >= bound)
                << target << ' ' << first << " + " << i << " of " << n << ", " << bound;
          ASSERT_EQ(flags.back(), 77);
        }
  });
}

}  // namespace
}  // namespace rein::kernels
