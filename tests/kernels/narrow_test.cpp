#include "rein/kernels/narrow.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/lstm_problem.h"

namespace rein::kernels {
namespace {

float as_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

// The definition of tile_product.h for one number of c, number by number.
float sum_of(NarrowUnit unit, std::vector<std::pair<float, float>> factors, bool split) {
  factors.resize((factors.size() + 31) / 32 * 32);
  const auto add = [&](float sum, size_t from, auto a_of, auto b_of) {
    const auto plus = [&](float to, size_t i) {
      return std::fma(a_of(factors[i].first), b_of(factors[i].second), to);
    };
    float even = 0, odd = 0;
    for (size_t i = from; i < from + 32; i += 2) {
      even = plus(even, i), odd = plus(odd, i + 1);
      if (unit == NarrowUnit::avx512_bf16) sum = plus(plus(sum, i + 1), i);
    }
    return unit == NarrowUnit::amx ? sum + (even + odd) : sum;
  };
  const auto low = [](float x) { return as_bf16(x - as_bf16(x)); };
  float sum = 0;
  for (size_t i = 0; i < factors.size(); i += 32) {
    if (split) sum = add(sum, i, low, as_bf16);
    sum = add(sum, i, as_bf16, as_bf16);
    if (split) sum = add(sum, i, as_bf16, low);
  }
  return sum;
}

constexpr NarrowUnit kUnits[] = {NarrowUnit::amx, NarrowUnit::avx512_bf16};

// What this processor can do; emulated always.
std::vector<ProductOptions> all_ways() {
  std::vector<ProductOptions> ways;
  for (NarrowUnit unit : kUnits)
    for (Precision p : {Precision::bf16, Precision::bf16x3})
      for (bool emulated : {true, false})
        if (const ProductOptions way{p, emulated, unit}; why_not(way).empty()) ways.push_back(way);
  return ways;
}
std::string name_of(const ProductOptions& way) {
  return std::string(to_string(way.precision)) + " " + std::string(to_string(*way.unit)) +
         (way.emulated ? " emulated" : "");
}

std::vector<float> drawn(int64_t n, uint64_t stream) {
  const RandomStream random(Seed{8}, stream);
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.normal(i));
  return x;
}

struct GemmCase {
  int64_t m, n, k;
  std::vector<float> a = drawn(m * k, 0), b = drawn(k * n, 1);
  std::vector<float> c = std::vector<float>(static_cast<size_t>(m * n), NAN);

  // Stored transposed or not, the same numbers: a [m, k], b [k, n].
  void run(const ProductOptions& way, Trans ta, Trans tb, int threads = 1) {
    std::vector<float> a_stored = a, b_stored = b;
    if (ta == Trans::yes) ref::transpose(m, k, a.data(), k, a_stored.data(), m);
    if (tb == Trans::yes) ref::transpose(k, n, b.data(), n, b_stored.data(), k);
    Buffer scratch(narrow::gemm_scratch_bytes(way, m, n, k));
    std::fill_n(scratch.data(), scratch.size(), std::byte{0xff});  // NaN, if it were read
    ThreadTeam team(threads);
    narrow::gemm(team, way, ta, tb, m, n, k, a_stored.data(), ta == Trans::yes ? m : k,
                 b_stored.data(), tb == Trans::yes ? k : n, c.data(), n, scratch.data());
  }
  std::vector<float> want(const ProductOptions& way) const {
    std::vector<float> all;
    for (int64_t row = 0; row < m; ++row)
      for (int64_t column = 0; column < n; ++column) {
        std::vector<std::pair<float, float>> factors;
        for (int64_t i = 0; i < k; ++i)
          factors.emplace_back(a[static_cast<size_t>(row * k + i)],
                               b[static_cast<size_t>(i * n + column)]);
        all.push_back(sum_of(*way.unit, factors, way.precision == Precision::bf16x3));
      }
    return all;
  }
};

TEST(NarrowGemm, IsItsDefinitionToTheBit) {
  const std::array<int64_t, 3> sizes[] = {{1, 1, 1},      {3, 5, 2},    {16, 32, 32},
                                          {17, 33, 31},   {32, 16, 64}, {50, 65, 33},
#ifndef REIN_SANITIZED  // two thirds of its time
                                          {33, 31, 1100}, {270, 290, 5}
#endif
  };
  for (const auto& [m, n, k] : sizes) {
    for (const ProductOptions& way : all_ways()) {
      const std::vector<float> want = GemmCase{m, n, k}.want(way);
      for_each_target([&, m = m, n = n, k = k](const char* target) {
        for (Trans ta : {Trans::no, Trans::yes})
          for (Trans tb : {Trans::no, Trans::yes}) {
            GemmCase x{m, n, k};
            x.run(way, ta, tb, 2);
            EXPECT_TRUE(x.c == want)
                << name_of(way) << " " << target << ", " << m << " x " << n << " x " << k;
          }
      });
    }
  }
}

// Of one product, which is 1: what leaves it says how the factors were rounded.
TEST(NarrowGemm, RoundsToNearestEvenAndKeepsWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::pair<float, float> cases[] = {{1 + 0x1p-8f, 1},  // a tie, to even
                                           {1 + 0x1.8p-7f, 1 + 0x1p-6f},
                                           {1 + 0x1.02p-8f, 1 + 0x1p-7f},
                                           {-3.14159274f, -3.140625f},
                                           {infinity, infinity},
                                           {-infinity, -infinity},
                                           {0x1.ffp127f, infinity},  // rounds beyond all numbers
                                           {0x1p-130f, 0}};          // denormal
  for (const ProductOptions& way : all_ways())
    for_each_target([&](const char* target) {
      SCOPED_TRACE(name_of(way) + " " + target);
      for (const auto& [x, high] : cases) {
        GemmCase one{1, 1, 1};
        one.a = {x}, one.b = {1};
        one.run(way, Trans::no, Trans::no);
        if (way.precision == Precision::bf16x3 && std::isinf(high)) {
          EXPECT_TRUE(std::isnan(one.c[0])) << x;  // infinity times the low part of 1
          continue;
        }
        const bool split = way.precision == Precision::bf16x3 && std::isfinite(high) && high != 0;
        EXPECT_EQ(one.c[0], split ? high + as_bf16(x - high) : high) << x;
      }
      GemmCase one{1, 1, 1};
      one.a = {std::numeric_limits<float>::quiet_NaN()};
      one.run(way, Trans::no, Trans::no);
      EXPECT_TRUE(std::isnan(one.c[0]));
    });
}

// Exponents from end to end: sums overflow, products are denormal, numbers cancel, some are not
// finite.
TEST(NarrowGemm, EmulationIsExactAtTheEndsOfTheRange) {
  const auto extreme = [](std::vector<float> x, uint64_t stream, int exponents) {
    const RandomStream random(Seed{9}, stream);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = std::ldexp(x[i], static_cast<int>(random.below(i, static_cast<uint64_t>(exponents))) -
                                  exponents / 2);
    return x;
  };
  for (const ProductOptions& way : all_ways())
    for (int exponents : {4, 120, 140, 250}) {
      GemmCase here{64, 64, 70}, emulated = here;
      here.a = emulated.a = extreme(here.a, 2, exponents);
      here.b = emulated.b = extreme(here.b, 3, exponents);
      here.a[5] = emulated.a[5] = std::numeric_limits<float>::infinity();
      here.a[75] = emulated.a[75] = std::numeric_limits<float>::quiet_NaN();
      here.run(way, Trans::no, Trans::no);
      emulated.run({way.precision, true, way.unit}, Trans::no, Trans::no);
      for (size_t i = 0; i < here.c.size(); ++i) {
        const bool same = std::isnan(here.c[i]) ? std::isnan(emulated.c[i])
                                                : std::bit_cast<uint32_t>(here.c[i]) ==
                                                      std::bit_cast<uint32_t>(emulated.c[i]);
        ASSERT_TRUE(same) << name_of(way) << " " << exponents << ", " << i << ": " << here.c[i]
                          << " and " << emulated.c[i];
      }
      EXPECT_FALSE(std::isfinite(here.c[0]) || std::isfinite(here.c[64]));  // they stay so
    }
}

// ---------------------------------------------------------------- LSTM

void run_narrow(Problem<float>& p, const ProductOptions& way, const LstmForward<float>& forward,
                LstmBackward<float> backward, int threads = 1) {
  const LstmMemory memory = narrow::lstm_memory(way, p.s);
  p.gates.assign(static_cast<size_t>(memory.gates), NAN);
  p.cells.assign(static_cast<size_t>(memory.cells), NAN);
  LstmForward<float> f = forward;
  f.gates = backward.dz = p.gates.data();  // dz in place, as a step has it
  f.cells = p.cells.data();
  backward.gates = f.gates, backward.cells = f.cells;
  ThreadTeam team(threads);
  Buffer scratch(std::max(memory.forward_scratch, memory.backward_scratch));
  std::fill_n(scratch.data(), scratch.size(), std::byte{0xff});
  narrow::lstm_forward(team, way, p.s, f, scratch.data());
  std::fill_n(scratch.data(), scratch.size(), std::byte{0xff});
  narrow::lstm_backward(team, way, p.s, backward, scratch.data());
}

class NarrowLstm : public testing::TestWithParam<LstmSizes> {};
#ifdef REIN_SANITIZED  // each way through the kernels by small sizes: large ones take minutes there
INSTANTIATE_TEST_SUITE_P(Sizes, NarrowLstm,
                         testing::Values(LstmSizes{1, 3, 2, 5}, LstmSizes{3, 0, 2, 4},
                                         LstmSizes{3, 5, 31, 33},
                                         LstmSizes{20, 16, 6, 20},   // two spans of rows
                                         LstmSizes{2, 3, 4, 280}));  // threads share units
#else
INSTANTIATE_TEST_SUITE_P(Sizes, NarrowLstm,
                         testing::Values(LstmSizes{1, 1, 1, 1}, LstmSizes{1, 3, 2, 5},
                                         LstmSizes{7, 1, 4, 16}, LstmSizes{4, 3, 0, 9},
                                         LstmSizes{3, 0, 2, 4}, LstmSizes{5, 2, 3, 17},
                                         LstmSizes{3, 5, 31, 33}, LstmSizes{5, 50, 11, 64},
                                         LstmSizes{3, 40, 70, 130},
                                         LstmSizes{20, 16, 600, 40},  // two spans of rows
                                         LstmSizes{2, 3, 1200, 110},  // x multiplied ahead
                                         LstmSizes{3, 3, 40, 280}));  // threads share units
#endif

// What docs/precision.md promises of the length of the error over that of the result: a few
// roundings by up to 2^-9 or 2^-17 in a row. If one of three products is missing, it is 2^-9.
double bound_of(Precision p) { return p == Precision::bf16 ? 1e-2 : 3e-5; }

// Sums of hundreds of larger ones saturate the gates, and what follows magnifies any rounding.
constexpr double kWeight = 0.1;

double error_of(const std::vector<float>& got, const std::vector<double>& want) {
  double squares = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = static_cast<double>(got[i]) - want[i];
    squares += d * d, all += want[i] * want[i];
  }
  return all == 0 ? squares : std::sqrt(squares / all);
}

TEST_P(NarrowLstm, AgreesWithThePlainTwinInDouble) {
  Problem<double> plain(GetParam(), kWeight);
  run(plain, plain.backward());
  for (const ProductOptions& way : all_ways())
    for_each_target([&](const char* target) {
      SCOPED_TRACE(name_of(way) + " " + target);
      Problem<float> fast(GetParam(), kWeight);
      run_narrow(fast, way, fast.forward(), fast.backward());
      const auto got = fast.results();
      const auto want = plain.results();
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_LE(error_of(*got[i].second, *want[i].second), bound_of(way.precision))
            << got[i].first;
    });
}

void expect_same_bits(const Problem<float>& a, const Problem<float>& b) {
  const auto x = a.results(), y = b.results();
  for (size_t i = 0; i < x.size(); ++i) {
    const bool same = x[i].second->empty() || std::memcmp(x[i].second->data(), y[i].second->data(),
                                                          x[i].second->size() * sizeof(float)) == 0;
    EXPECT_TRUE(same) << x[i].first;
  }
}

// Each binds somewhere, and the three together take every way through the kernels.
template <class T>
std::pair<LstmForward<T>, LstmBackward<T>> limited(Problem<T>& p) {
  std::pair limits{p.forward(), p.backward()};
  limits.first.cell_clip = limits.second.cell_clip = static_cast<T>(0.75);
  limits.second.gate_clip = static_cast<T>(0.125), limits.second.state_clip = static_cast<T>(0.5);
  return limits;
}

TEST_P(NarrowLstm, ThreadsAndEmulationChangeNoBit) {
  for (Precision precision : {Precision::bf16, Precision::bf16x3})
    for (bool with_limits : {false, true}) {
      const auto run_in = [&](Problem<float>& p, const ProductOptions& way, int threads) {
        if (!with_limits) return run_narrow(p, way, p.forward(), p.backward(), threads);
        const auto [forward, backward] = limited(p);
        run_narrow(p, way, forward, backward, threads);
      };
      for (NarrowUnit unit : kUnits) {
        Problem<float> one(GetParam());
        run_in(one, {precision, true, unit}, 1);
        for (const ProductOptions& way : all_ways())
          for (int threads : {1, 2, 3}) {
            if (way.precision != precision || way.unit != unit) continue;
            SCOPED_TRACE(name_of(way) + " " + std::to_string(threads));
            Problem<float> other(GetParam());
            run_in(other, way, threads);
            expect_same_bits(one, other);
          }
      }
    }
}

TEST_P(NarrowLstm, LimitsAreThoseOfThePlainTwin) {
  Problem<double> plain(GetParam(), kWeight);
  const auto [forward, backward] = limited(plain);
  run(plain, forward, backward);
  for (int threads : {1, 2}) {
    Problem<float> fast(GetParam(), kWeight);
    const auto [f, b] = limited(fast);
    run_narrow(fast, {Precision::bf16x3, true}, f, b, threads);
    const auto got = fast.results();
    const auto want = plain.results();
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_LE(error_of(*got[i].second, *want[i].second), bound_of(Precision::bf16x3))
          << got[i].first;
  }
}

TEST_P(NarrowLstm, RowsOfDzGiveTheGradientOfTheWeights) {
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    Problem<float> p(GetParam());
    run_narrow(p, {precision, true}, p.forward(), p.backward());
    const LstmSizes& s = p.s;
    std::vector<float> rows(static_cast<size_t>(s.steps * s.batch * 4 * s.units));
    narrow::lstm_rows({precision, true}, s, p.gates.data(), rows.data());
    for (int64_t column = 0; column < 4 * s.units; ++column) {
      double sum = 0, size = 0;
      for (int64_t row = 0; row < s.steps * s.batch; ++row) {
        const double dz = rows[static_cast<size_t>(row * 4 * s.units + column)];
        sum += dz, size += std::abs(dz);
      }
      // What is added up is dz before it is rounded.
      EXPECT_NEAR(p.dbias[static_cast<size_t>(column)], sum, bound_of(precision) * size + 1e-12);
    }
  }
}

TEST(NarrowLstm, SaysWhyItCannot) {
  EXPECT_EQ(why_not({}), "");
  EXPECT_EQ(why_not({Precision::bf16, true}), "");
  EXPECT_EQ(precision_of("bf16x3"), Precision::bf16x3);
  EXPECT_EQ(precision_of("fp8"), std::nullopt);
  for (NarrowUnit unit : kUnits) EXPECT_EQ(narrow_unit_of(to_string(unit)), unit);
  EXPECT_EQ(narrow_unit_of("tpu"), std::nullopt);
  EXPECT_EQ(unit_of({Precision::bf16, true, NarrowUnit::avx512_bf16}), NarrowUnit::avx512_bf16);
}

}  // namespace
}  // namespace rein::kernels
