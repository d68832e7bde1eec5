// Kernels of every length around the width of vectors, each array against memory that cannot be
// touched, on its left or on its right. The plain twins say what must come out; where other tests
// compare them at every length, it is the same kernel in the middle of memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/elementwise_rows.h"
#include "kernels/guarded.h"
#include "kernels/softmax_rows.h"
#include "rein/base/random.h"
#include "rein/kernels/copy.h"
#include "rein/kernels/gemm.h"
#include "rein/kernels/norm.h"
#include "rein/kernels/reduce.h"
#include "rein/kernels/rows.h"
#include "rein/kernels/softmax.h"
#include "rein/kernels/update.h"

namespace rein::kernels {
namespace {

constexpr size_t kLongest = 2 * 16 + 1;  // two of the widest vectors and one more

// f.template operator()<side>(n) for all lengths, sides and targets.
template <class F>
void for_each_tail(const F& f, size_t shortest = 0) {
  for_each_target([&](const char* target) {
    for (size_t n = shortest; n <= kLongest && !testing::Test::HasFailure(); ++n) {
      SCOPED_TRACE(testing::Message() << target << ", " << n << " elements");
      f.template operator()<Guard::end>(n);
      f.template operator()<Guard::begin>(n);
    }
  });
}

template <class T = float>
std::vector<T> draw(size_t n, uint64_t stream = 0) {
  const RandomStream random(Seed{7}, stream);
  std::vector<T> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<T>(static_cast<float>(random.uniform(i) - 0.5));
  return x;
}

template <class T, Guard kSide>
void expect_bits(const Guarded<T, kSide>& got, const std::vector<T>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_TRUE(want.empty() || std::memcmp(got.data(), want.data(), want.size() * sizeof(T)) == 0)
      << what;
  EXPECT_TRUE(got.intact()) << what << " touches what lies beside the result";
}

template <class T, Guard kSide>
void expect_near(const Guarded<T, kSide>& got, const std::vector<double>& want,
                 const std::vector<double>& tolerance, const char* what) {
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(static_cast<double>(got[i]), want[i], tolerance[i]) << what << " at " << i;
  EXPECT_TRUE(got.intact()) << what;
}

TEST(Tails, OfUpdates) {
  for_each_tail([]<Guard kSide>(size_t n) {
    using Array = Guarded<float, kSide>;
    const auto x = draw(n, 1), y = draw(n, 2);
    std::vector<float> want(n);
    for (double factor : {0.37, 1e-60, 1e39}) {  // the last two are no floats
      const Array in(x);
      Array out(n);
      scale_into(in.data(), factor, out.data(), n);
      ref::scale_into(x.data(), factor, want.data(), n);
      expect_bits(out, want, "scale_into");
    }
    Array clipped(x);
    want = x;
    clip_in_place(clipped.data(), -0.2f, 0.3f, n);
    ref::clip_in_place(want.data(), -0.2f, 0.3f, n);
    expect_bits(clipped, want, "clip_in_place");

    Array sum(x);
    const Array term(y);
    want = x;
    add_into(sum.data(), term.data(), n);
    ref::add_into(want.data(), y.data(), n);
    expect_bits(sum, want, "add_into");

    const AdamNumbers numbers{.beta1 = 0.9,
                              .beta2 = 0.999,
                              .new1 = 0.1,
                              .new2 = 0.001,
                              .rate = 0.01,
                              .root_factor = 1.5,
                              .epsilon = 1e-8};
    auto d = x, m = y, v = draw(n, 3);
    for (float& square : v) square = std::abs(square);
    Array gd(d), gm(m), gv(v);
    adam(gd.data(), gm.data(), gv.data(), numbers, n);
    adam(d.data(), m.data(), v.data(), numbers, n);
    expect_bits(gd, d, "delta of adam");
    expect_bits(gm, m, "mean of adam");
    expect_bits(gv, v, "mean square of adam");
  });
}

template <class T, Guard kSide>
void expect_norm(size_t n) {
  const auto x = draw<T>(n);
  const Guarded<T, kSide> guarded(x);
  EXPECT_EQ(sum_of_squares(guarded.data(), n), sum_of_squares(x.data(), n));
  EXPECT_EQ(largest_size(guarded.data(), n), largest_size(x.data(), n));
  for (const double p : {3.0, 4.5, 2.3})
    EXPECT_EQ(sum_of_powers(guarded.data(), n, p, 1), sum_of_powers(x.data(), n, p, 1));
}

TEST(Tails, OfNorms) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (size_t n = 0; n <= 4 * 16 + 1; ++n) {  // four sums side by side
      expect_norm<float, Guard::end>(n);
      expect_norm<float, Guard::begin>(n);
      expect_norm<double, Guard::end>(n);
      expect_norm<double, Guard::begin>(n);
    }
  });
}

TEST(Tails, OfSoftmaxRows) {
  for_each_tail(
      []<Guard kSide>(size_t size) {
        using Array = Guarded<float, kSide>;
        const auto n = static_cast<int64_t>(size);
        const auto x = draw(size, 1), z = draw(size, 2);
        const Array logits(x), labels(z);
        std::vector<float> want(size);
        Array y(size);
        const auto got = simd::exp_row(logits.data(), y.data(), n);
        const auto wanted = simd::exp_row(x.data(), want.data(), n);
        EXPECT_EQ(got.max, wanted.max);
        EXPECT_EQ(got.sum, wanted.sum);
        expect_bits(y, want, "exp_row");
        EXPECT_EQ(simd::cross_entropy_row(labels.data(), logits.data(), got.max, 2, n),
                  simd::cross_entropy_row(z.data(), x.data(), got.max, 2, n));
        simd::sigmoid_cross_entropy_row(labels.data(), logits.data(), y.data(), n);
        simd::sigmoid_cross_entropy_row(z.data(), x.data(), want.data(), n);
        expect_bits(y, want, "sigmoid_cross_entropy_row");
      },
      1);
}

// Whole kernels: rows that end and begin where vectors do not.
TEST(Tails, OfSoftmaxAndLosses) {
  for_each_tail(
      []<Guard kSide>(size_t size) {
        using Array = Guarded<float, kSide>;
        constexpr size_t rows = 3;
        const auto n = static_cast<int64_t>(size);
        ThreadTeam team;
        const auto x = draw(rows * size, 1), z = draw(rows * size, 2), up = draw(rows, 3);
        const Array logits(x), labels(z), upstream(up);
        Guarded<int32_t, kSide> classes(rows);
        for (size_t r = 0; r < rows; ++r) classes[r] = static_cast<int32_t>(r * size / rows);
        const auto compare = [&](size_t results, const char* what, auto&& run) {
          Array got(results);
          std::vector<float> want(results);
          run(logits.data(), labels.data(), upstream.data(), got.data());
          run(x.data(), z.data(), up.data(), want.data());
          expect_bits(got, want, what);
        };
        using F = const float*;
        compare(x.size(), "softmax", [&](F a, F, F, float* y) { softmax(team, a, y, rows, n); });
        compare(x.size(), "log_softmax",
                [&](F a, F, F, float* y) { log_softmax(team, a, y, rows, n); });
        compare(rows, "cross_entropy",
                [&](F a, F b, F, float* y) { cross_entropy(team, b, a, y, rows, n); });
        compare(x.size(), "cross_entropy_grad",
                [&](F a, F b, F u, float* y) { cross_entropy_grad(team, b, a, u, y, rows, n); });
        compare(rows, "sparse_cross_entropy", [&](F a, F, F, float* y) {
          sparse_cross_entropy(team, a, classes.data(), y, rows, n);
        });
        compare(x.size(), "sparse_cross_entropy_grad", [&](F a, F, F u, float* y) {
          sparse_cross_entropy_grad(team, a, classes.data(), u, y, rows, n);
        });
        compare(x.size(), "sigmoid_cross_entropy", [&](F a, F b, F, float* y) {
          sigmoid_cross_entropy(team, b, a, y, static_cast<int64_t>(x.size()));
        });
        compare(x.size(), "squared_error", [&](F a, F b, F, float* y) {
          squared_error(team, a, b, y, static_cast<int64_t>(x.size()));
        });
        compare(x.size(), "absolute_error", [&](F a, F b, F, float* y) {
          absolute_error(team, a, b, y, static_cast<int64_t>(x.size()));
        });
      },
      1);
}

template <Guard kSide>
void expect_reductions(int64_t outer, int64_t n, int64_t inner) {
  SCOPED_TRACE(testing::Message() << outer << " x " << n << " x " << inner);
  ThreadTeam team;
  const auto x = draw(static_cast<size_t>(outer * n * inner));
  const Guarded<float, kSide> in(x);
  const auto results = static_cast<size_t>(outer * inner);
  Guarded<float, kSide> sum(results), max(results);
  Guarded<float, kSide> scratch(static_cast<size_t>(reduce_axis_scratch(outer, n, inner)));
  sum_axis(in.data(), sum.data(), outer, n, inner, scratch.data(), team);
  max_axis(in.data(), max.data(), outer, n, inner, scratch.data(), team);
  EXPECT_TRUE(scratch.intact());
  std::vector<double> want(results), largest(results, -1), tolerance(results);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < n; ++k)
      for (int64_t i = 0; i < inner; ++i) {
        const double v = in[static_cast<size_t>((o * n + k) * inner + i)];
        const auto at = static_cast<size_t>(o * inner + i);
        want[at] += v;
        largest[at] = std::max(largest[at], v);
        tolerance[at] += 6e-8 * 50 * std::abs(v);  // fewer than 100 additions, each half an ulp
      }
  expect_near(sum, want, tolerance, "sum_axis");
  expect_near(max, largest, std::vector<double>(results, 0), "max_axis");
}

TEST(Tails, OfReductions) {
  for (int64_t n = 1; n <= 33; ++n)
    for (int64_t other : {1, 2, 5, 33, 70}) {
      expect_reductions<Guard::end>(2, n, other);
      expect_reductions<Guard::begin>(2, n, other);
      expect_reductions<Guard::end>(2, other, n);
      expect_reductions<Guard::begin>(2, other, n);
    }
  for (int64_t inner : {1, 3, 63, 65, 513}) {  // several tiles, with scratch
    expect_reductions<Guard::end>(1, 40001 / inner + 700, inner);
    expect_reductions<Guard::begin>(1, 40001 / inner + 700, inner);
  }
}

template <class T, Guard kSide>
void expect_moves(size_t rows, size_t columns) {
  ThreadTeam team;
  const auto r = static_cast<int64_t>(rows), c = static_cast<int64_t>(columns);
  const auto x = draw<T>(rows * columns);
  const Guarded<T, kSide> in(x);
  std::vector<T> transposed(x.size());
  ref::transpose(r, c, x.data(), c, transposed.data(), r);
  Guarded<T, kSide> out(x.size());
  transpose(r, c, in.data(), c, out.data(), r);
  expect_bits(out, transposed, "transpose");
  const CopyAxis turned[] = {{c, 1, r}, {r, c, 1}}, straight[] = {{r, c, c}, {c, 1, 1}};
  Guarded<T, kSide> copy(x.size());
  strided_copy(turned, in.data(), copy.data(), sizeof(T), team);
  expect_bits(copy, transposed, "strided_copy that transposes");
  strided_copy(straight, in.data(), copy.data(), sizeof(T), team);
  expect_bits(copy, x, "strided_copy");
  strided_zero(straight, copy.data(), sizeof(T), team);
  expect_bits(copy, std::vector<T>(x.size()), "strided_zero");

  // The first column again and again; every second column.
  std::vector<T> want(x.size());
  for (size_t i = 0; i < x.size(); ++i) want[i] = x[i / columns * columns];
  const CopyAxis first[] = {{r, c, c}, {c, 0, 1}};
  strided_copy(first, in.data(), copy.data(), sizeof(T), team);
  expect_bits(copy, want, "strided_copy of one column");
  const size_t half = (columns + 1) / 2;
  const CopyAxis second[] = {{r, c, (c + 1) / 2}, {(c + 1) / 2, 2, 1}};
  Guarded<T, kSide> halved(rows * half);
  want.resize(rows * half);
  for (size_t i = 0; i < want.size(); ++i) want[i] = x[i / half * columns + i % half * 2];
  strided_copy(second, in.data(), halved.data(), sizeof(T), team);
  expect_bits(halved, want, "strided_copy of every second column");
}

TEST(Tails, OfCopiesAndTranspositions) {
  for_each_tail(
      []<Guard kSide>(size_t n) {
        for (size_t other : {1u, 3u, 16u, 17u, 33u}) {
          expect_moves<float, kSide>(n, other);
          expect_moves<double, kSide>(n, other);
          expect_moves<float, kSide>(other, n);
        }
      },
      1);
}

TEST(Tails, OfRows) {
  for_each_tail(
      []<Guard kSide>(size_t width) {
        using Array = Guarded<float, kSide>;
        constexpr int64_t rows = 5, n = 4;
        const auto w = static_cast<int64_t>(width);
        ThreadTeam team;
        const auto x = draw(rows * width);
        const Array table(x);
        const Guarded<int64_t, kSide> indices(std::vector<int64_t>{4, 0, 2, 4});
        Array picked(n * width), back(rows * width), hot(n * width);
        gather_rows(table.data(), rows, indices.data(), n, w, picked.data(), team);
        scatter_add_rows(picked.data(), indices.data(), n, w, back.data(), rows, team);
        one_hot(indices.data(), n, w, hot.data(), team);
        std::vector<float> rows_wanted, sums(rows * width), ones(n * width);
        for (size_t k = 0; k < n; ++k)
          for (size_t i = 0; i < width; ++i) {
            const size_t row = static_cast<size_t>(indices[k]);
            rows_wanted.push_back(x[row * width + i]);
            sums[row * width + i] += x[row * width + i];
            if (row == i) ones[k * width + i] = 1;
          }
        expect_bits(picked, rows_wanted, "gather_rows");
        expect_bits(back, sums, "scatter_add_rows");
        expect_bits(hot, ones, "one_hot");
      },
      1);
}

template <Guard kSide>
void expect_product(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, float beta) {
  SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k
                                  << (ta == Trans::yes ? " T" : " N")
                                  << (tb == Trans::yes ? "T" : "N") << " beta " << beta);
  ThreadTeam team;
  const int64_t lda = ta == Trans::yes ? m : k, ldb = tb == Trans::yes ? k : n;
  const auto a = draw(static_cast<size_t>(m * k), 1), b = draw(static_cast<size_t>(k * n), 2);
  const auto c = draw(static_cast<size_t>(m * n), 3);
  const Guarded<float, kSide> ga(a), gb(b);
  Guarded<float, kSide> product(c), tile(c);
  Guarded<std::byte, kSide> scratch(gemm_scratch_bytes<float>(tb, m, n, k), 64);
  gemm<float>(team, ta, tb, m, n, k, ga.data(), lda, gb.data(), ldb, beta, product.data(), n,
              scratch.data());
  gemm_tile<float>(ta, tb, m, n, k, ga.data(), lda, gb.data(), ldb, beta, tile.data(), n);
  std::vector<double> want(c.begin(), c.end());
  const std::vector<double> da(a.begin(), a.end()), db(b.begin(), b.end());
  ref::gemm<double>(ta, tb, m, n, k, da.data(), lda, db.data(), ldb, beta, want.data(), n);
  // k + 2 roundings, each half an ulp of at most the sum of the k products (all below 1/4) and c.
  const std::vector<double> tolerance(
      want.size(), static_cast<double>(k + 2) * 6e-8 * (0.25 * static_cast<double>(k) + 0.5));
  expect_near(product, want, tolerance, "gemm");
  expect_near(tile, want, tolerance, "gemm_tile");
  EXPECT_TRUE(scratch.intact());
}

template <Guard kSide>
void expect_products(int64_t m, int64_t n, int64_t k, float beta) {
  for (Trans ta : {Trans::no, Trans::yes})
    for (Trans tb : {Trans::no, Trans::yes}) expect_product<kSide>(ta, tb, m, n, k, beta);
}

TEST(Tails, OfProducts) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    for (int64_t n = 1; n <= 33; n += 2)
      for (int64_t other : {1, 16, 17}) {
        const float beta = n % 4 == 1 ? 0.0f : 1.0f;
        expect_products<Guard::end>(n, other, 19, beta);
        expect_products<Guard::begin>(other, n, 33, beta);
        expect_products<Guard::end>(18, other, n, beta);
        expect_products<Guard::begin>(other, n, n, beta);
      }
  });
}

TEST(Tails, OfProductsOfTheLibrary) {
  expect_products<Guard::end>(65, 67, 91, 0);
  expect_products<Guard::begin>(67, 65, 91, 1);
}

}  // namespace
}  // namespace rein::kernels
