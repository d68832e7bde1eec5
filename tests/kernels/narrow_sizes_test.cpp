// Narrow products of every width, each array against memory that cannot be touched.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/guarded_problem.h"
#include "rein/kernels/narrow.h"

namespace rein::kernels {
namespace {

#ifdef REIN_SANITIZED
constexpr int64_t kStride = 9;  // of the sizes, as in lstm_sizes_test.cpp
#else
constexpr int64_t kStride = 1;
#endif

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The units that are there: what they read and write is what matters here.
std::vector<ProductOptions> ways_to_multiply() {
  std::vector<ProductOptions> ways;
  for (Precision p : {Precision::bf16, Precision::bf16x3}) {
    for (NarrowUnit unit : {NarrowUnit::amx, NarrowUnit::avx512_bf16})
      if (const ProductOptions way{p, false, unit}; why_not(way).empty()) ways.push_back(way);
    if (!why_not({p}).empty()) ways.push_back({p, true});
  }
  return ways;
}

// ---------------------------------------------------------------- products

struct Sizes {
  int64_t m, n, k;
};

template <Guard kSide>
Guarded<float, kSide> product_of(const ProductOptions& way, const Sizes& s, Trans ta, Trans tb,
                                 ThreadTeam& team) {
  const auto drawn = [](int64_t n, uint64_t stream) {
    const RandomStream random(Seed{8}, stream);
    Guarded<float, kSide> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.normal(i));
    return x;
  };
  const auto a = drawn(s.m * s.k, 0), b = drawn(s.k * s.n, 1);
  Guarded<float, kSide> c(static_cast<size_t>(s.m * s.n));
  auto scratch = guarded_scratch<kSide>(narrow::gemm_scratch_bytes(way, s.m, s.n, s.k));
  narrow::gemm(team, way, ta, tb, s.m, s.n, s.k, a.data(), ta == Trans::yes ? s.m : s.k, b.data(),
               tb == Trans::yes ? s.k : s.n, c.data(), s.n, scratch.data());
  EXPECT_TRUE(a.intact() && b.intact() && c.intact() && scratch.intact());
  return c;
}

TEST(NarrowGemmOfEverySize, StaysWithinItsArrays) {
  ThreadTeam one(1), two(2);
  for (const ProductOptions& way : ways_to_multiply())
    for (int64_t i = 1; i <= 70 && !testing::Test::HasFailure(); i += kStride)
      for (Trans ta : {Trans::no, Trans::yes})
        for (Trans tb : {Trans::no, Trans::yes}) {
          const Sizes s{i, i * 37 % 71 + 1, i * 29 % 67 + 1};
          SCOPED_TRACE(testing::Message() << s.m << " x " << s.n << " x " << s.k);
          const auto end = product_of<Guard::end>(way, s, ta, tb, one);
          const auto begin = product_of<Guard::begin>(way, s, ta, tb, two);
          EXPECT_TRUE(same_bits(end, begin));
        }
}

// ---------------------------------------------------------------- LSTM

// Limits that bind take other ways through the kernels.
enum class Limits : uint8_t { none, gates, state };

template <Guard kSide>
void run_guarded(GuardedProblem<kSide>& p, const ProductOptions& way, Limits limits,
                 ThreadTeam& team, bool in_place) {
  run_within(
      p, narrow::lstm_memory(way, p.s), in_place,
      [&](LstmForward<float> f, std::byte* scratch) {
        if (limits != Limits::none) f.cell_clip = 0.75f;
        narrow::lstm_forward(team, way, p.s, f, scratch);
      },
      [&](LstmBackward<float> b, std::byte* scratch) {
        if (limits != Limits::none) b.cell_clip = 0.75f;
        if (limits == Limits::gates) b.gate_clip = 0.125f;
        if (limits == Limits::state) b.state_clip = 0.5f;
        narrow::lstm_backward(team, way, p.s, b, scratch);
      });
}

// Every width up to 70 and every batch up to 50: an edge on either side of every tile.
TEST(NarrowLstmOfEverySize, StaysWithinItsArrays) {
  ThreadTeam one(1), two(2);
  for (const ProductOptions& way : ways_to_multiply())
    for (int64_t i = 1; i <= 70 && !testing::Test::HasFailure(); i += kStride) {
      const LstmSizes s{
          .steps = 1 + i % 3, .batch = 1 + i * 29 % 50, .inputs = i * 37 % 71, .units = i};
      SCOPED_TRACE(testing::PrintToString(s));
      const auto limits = static_cast<Limits>(i / 3 % 3);
      GuardedProblem<Guard::end> end(s);
      run_guarded(end, way, limits, one, false);
      GuardedProblem<Guard::begin> begin(s);
      run_guarded(begin, way, limits, two, true);
      for (size_t r = 0; r < end.results().size(); ++r) {
        const auto [name, a] = end.results()[r];
        EXPECT_TRUE(same_bits(*a, *begin.results()[r].second)) << name;
        for (float x : *a) EXPECT_TRUE(std::isfinite(x)) << name;  // all of it was written
      }
    }
}

}  // namespace
}  // namespace rein::kernels
