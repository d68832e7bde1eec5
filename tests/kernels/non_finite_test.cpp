// NaN and infinities in every lane of vectors and of their tails come out as in the plain twins,
// and nowhere else. Softmax, norms and updates have this among their own tests.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/elementwise_rows.h"
#include "kernels/gemm_small.h"
#include "kernels/lstm_problem.h"
#include "rein/kernels/reduce.h"

namespace rein::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kSpecials[] = {kNaN, kInf, -kInf};
constexpr int64_t kLongest = 2 * 16 + 1;  // two of the widest vectors and one more

enum class Kind : uint8_t { finite, nan, infinite, minus_infinite };
template <class T>
Kind kind(T v) {
  if (std::isfinite(v)) return Kind::finite;
  return std::isnan(v) ? Kind::nan : v > 0 ? Kind::infinite : Kind::minus_infinite;
}

// The first element whose kind is another than that of its twin, or -1.
template <class A, class B>
int64_t first_unlike(const A& got, const B& want) {
  for (size_t i = 0; i < want.size(); ++i)
    if (kind(got[i]) != kind(want[i])) return static_cast<int64_t>(i);
  return -1;
}

std::vector<float> draw(int64_t n, uint64_t stream) {
  const RandomStream random(Seed{4}, stream);
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(0.1 + random.uniform(i));
  return x;
}

// f(n, at, special) for every position of every length.
template <class F>
void for_each_position(const F& f) {
  for_each_target([&](const char* target) {
    for (int64_t n = 1; n <= kLongest; ++n)
      for (int64_t at = 0; at < n; ++at)
        for (float special : kSpecials) {
          if (testing::Test::HasFailure()) return;
          SCOPED_TRACE(testing::Message()
                       << target << ": " << special << " at " << at << " of " << n);
          f(n, static_cast<size_t>(at), special);
        }
  });
}

TEST(NonFinite, InElementwiseFunctions) {
  for_each_position([](int64_t n, size_t at, float special) {
    std::array<std::vector<float>, 3> x{draw(n, 1), draw(n, 2), draw(n, 3)};
    std::vector<float> got(x[0].size()), want(x[0].size());
    for (size_t operand = 0; operand < 3; ++operand) {
      auto special_x = x;
      special_x[operand][at] = special;
      const auto rows = [&](std::vector<float>& y) {
        return Rows<float>{{special_x[0].data(), special_x[1].data(), special_x[2].data()},
                           {},
                           {1, 1, 1},
                           y.data(),
                           1,
                           n};
      };
      if (operand == 0)
        for (int f = 0; f <= static_cast<int>(Unary::softplus); ++f) {
          simd::unary(static_cast<Unary>(f), special_x[0].data(), got.data(), n);
          ref::unary(static_cast<Unary>(f), special_x[0].data(), want.data(), n);
          EXPECT_EQ(first_unlike(got, want), -1) << "unary " << f;
        }
      if (operand <= 1)
        for (int f = 0; f <= static_cast<int>(Binary::relu_grad); ++f) {
          simd::binary(static_cast<Binary>(f), rows(got));
          ref::binary(static_cast<Binary>(f), rows(want));
          EXPECT_EQ(first_unlike(got, want), -1) << "binary " << f << " of operand " << operand;
        }
      for (int f = 0; f <= static_cast<int>(Ternary::where); ++f) {
        simd::ternary(static_cast<Ternary>(f), rows(got));
        ref::ternary(static_cast<Ternary>(f), rows(want));
        EXPECT_EQ(first_unlike(got, want), -1) << "ternary " << f << " of operand " << operand;
      }
    }
  });
}

TEST(NonFinite, InSums) {
  ThreadTeam team;
  for (const auto& [n, inner] :
       {std::pair<int64_t, int64_t>{kLongest, 1}, {9, kLongest}, {1, kLongest}, {70, 1}}) {
    std::vector<float> scratch(static_cast<size_t>(reduce_axis_scratch(1, n, inner)));
    for (int64_t at = 0; at < n * inner; ++at)
      for (float special : kSpecials) {
        auto x = draw(n * inner, 1);
        x[static_cast<size_t>(at)] = special;
        std::vector<float> y(static_cast<size_t>(inner)), want(y.size());
        want[static_cast<size_t>(at % inner)] = special;
        sum_axis(x.data(), y.data(), 1, n, inner, scratch.data(), team);
        ASSERT_EQ(first_unlike(y, want), -1) << special << " at " << at << " of " << n * inner;
      }
  }
}

// In a row of a or a column of b; all numbers are positive, so nothing cancels.
void check_product(int64_t m, int64_t n, int64_t k, int64_t stride) {
  ThreadTeam team;
  const auto a = draw(m * k, 1), b = draw(k * n, 2);
  std::vector<float> c(static_cast<size_t>(m * n)), want(c.size());
  const auto run = [&](const std::vector<float>& x, const std::vector<float>& y) {
    gemm<float>(team, Trans::no, Trans::no, m, n, k, x.data(), k, y.data(), n, 0, c.data(), n,
                nullptr);
    ASSERT_EQ(first_unlike(c, want), -1);
  };
  for (float special : kSpecials) {
    for (int64_t at = 0; at < m * k; at += stride) {
      SCOPED_TRACE(testing::Message() << special << " at " << at << " of a");
      auto x = a;
      x[static_cast<size_t>(at)] = special;
      std::ranges::fill(want, 0.0f);
      std::fill_n(want.begin() + at / k * n, n, special);
      run(x, b);
    }
    for (int64_t at = 0; at < k * n; at += stride) {
      SCOPED_TRACE(testing::Message() << special << " at " << at << " of b");
      auto y = b;
      y[static_cast<size_t>(at)] = special;
      std::ranges::fill(want, 0.0f);
      for (int64_t i = 0; i < m; ++i) want[static_cast<size_t>(i * n + at % n)] = special;
      run(a, y);
    }
  }
}

TEST(NonFinite, InSmallProducts) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (int64_t n : {7, 16, 33, 65}) check_product(7, n, 19, 1);
  });
}

TEST(NonFinite, InProductsOfTheLibrary) { check_product(65, 83, 71, 37); }

void check_lstm(int64_t units) {
  const LstmSizes s{.steps = 2, .batch = 3, .inputs = 2, .units = units};
  std::vector<float> Problem<float>::*const floats[] = {
      &Problem<float>::x, &Problem<float>::h0, &Problem<float>::c0, &Problem<float>::d_outputs,
      &Problem<float>::kernel};
  std::vector<double> Problem<double>::*const doubles[] = {
      &Problem<double>::x, &Problem<double>::h0, &Problem<double>::c0, &Problem<double>::d_outputs,
      &Problem<double>::kernel};
  for (size_t array = 0; array < std::size(floats); ++array)
    for (int64_t unit = 0; unit < units; ++unit)
      for (float special : kSpecials) {
        SCOPED_TRACE(testing::Message()
                     << special << " in array " << array << " at unit " << unit << " of " << units);
        Problem<float> got(s);
        Problem<double> want(s);
        const auto at =
            static_cast<size_t>(units + unit) % (got.*floats[array]).size();  // of the second row
        (got.*floats[array])[at] = special;
        (want.*doubles[array])[at] = special;
        run(got, got.backward());
        run(want, want.backward());
        for (size_t i = 0; i < got.results().size(); ++i)
          ASSERT_EQ(first_unlike(*got.results()[i].second, *want.results()[i].second), -1)
              << got.results()[i].first;
      }
}

TEST(NonFinite, InTheLstm) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (int64_t units : {1, 5, 17, 33}) check_lstm(units);
  });
}

}  // namespace
}  // namespace rein::kernels
