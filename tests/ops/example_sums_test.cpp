// Norms and sums of examples, against gradients that are made one by one.
#include "compute/ops/example_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "process/numbers.h"
#include "rein/compute/tape.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// Rows [outer, batch, inner] of so many columns.
struct Rows {
  int64_t outer, inner;
};

// sum over the rows of an example of a^T b, in double and row by row.
std::vector<double> product_of(const Tensor& a, const Tensor& b, Rows rows, int64_t batch,
                               int64_t example, std::vector<double> sum) {
  const std::vector<double> x = numbers(a), y = numbers(b);
  const auto m = static_cast<size_t>(a.shape()[1]), n = static_cast<size_t>(b.shape()[1]);
  sum.resize(m * n);
  for (int64_t r = 0; r < a.shape()[0]; ++r) {
    if (r / rows.inner % batch != example) continue;
    const auto row = static_cast<size_t>(r);
    for (size_t i = 0; i < m; ++i)
      for (size_t j = 0; j < n; ++j) sum[i * n + j] += x[row * m + i] * y[row * n + j];
  }
  return sum;
}

Tensor draw(Shape shape, DType dtype, uint64_t stream, double scale = 1) {
  std::vector<double> x = noise(static_cast<size_t>(shape.size()), stream);
  for (double& v : x) v *= scale;
  return tensor(shape, x, dtype);
}

TEST(ExampleNorms, AreThoseOfTheProductsThatAreNotMade) {
  constexpr int64_t kBatch = 21;  // tasks of one example and of two
  struct Case {
    std::vector<Rows> pairs;
    int64_t a, b;
  };
  const Case cases[] = {{{{1, 1}}, 5, 300},      {{{1, 2}}, 40, 40},  {{{2, 3}}, 70, 40},
                        {{{30, 1}}, 3, 5},       {{{1, 30}}, 5, 200}, {{{1, 1}, {2, 2}}, 40, 30},
                        {{{9, 1}, {1, 9}}, 2, 3}};
  for (const DType dtype : {DType::float64, DType::float32})
    for (const Case& c : cases) {
      GradientTape tape;
      std::vector<RowPair> pairs;
      std::vector<std::vector<double>> products(kBatch);
      for (const Rows& rows : c.pairs) {
        const int64_t n = rows.outer * kBatch * rows.inner;
        const Tensor a = draw({n, c.a}, dtype, pairs.size()), b = draw({n, c.b}, dtype, 9);
        pairs.push_back({tape.input(a), tape.input(b), rows.inner});
        for (int64_t e = 0; e < kBatch; ++e) {
          auto& product = products[static_cast<size_t>(e)];
          product = product_of(a, b, rows, kBatch, e, product);
        }
      }
      const std::vector<double> norms = numbers(example_norms(pairs, kBatch).tensor());
      // Products of rows and of single rows are taken in double, others in the type.
      const double tolerance = dtype == DType::float64 ? 1e-14 : 1e-6;
      for (size_t e = 0; e < kBatch; ++e)
        EXPECT_NEAR(norms[e] / norm_of(products[e]), 1, tolerance) << c.a << " " << c.b;
    }
}

TEST(ExampleNorms, NeitherOverflowNorVanish) {
  for (const double scale : {1e-150, 1e150}) {
    GradientTape tape;
    for (const int64_t rows : {2, 40}) {  // of an example
      const Tensor a = draw({2 * rows, 30}, DType::float64, 1),
                   b = draw({2 * rows, 20}, DType::float64, 2);
      const Value x = tape.input(a), y = tape.input(b);
      const std::vector<double> plain = numbers(example_norms({{x, y}}, 2).tensor());
      const std::vector<double> far = numbers(example_norms({{x * scale, y}}, 2).tensor());
      const std::vector<double> both = numbers(example_norms({{x * scale, y / scale}}, 2).tensor());
      for (size_t e = 0; e < 2; ++e) {
        EXPECT_NEAR(far[e] / plain[e] / scale, 1, 1e-14);
        EXPECT_NEAR(both[e] / plain[e], 1, 1e-14);
      }
    }
    const Value x = tape.input(draw({2, 30}, DType::float64, 1));
    const std::vector<double> plain = numbers(example_norms(x).tensor());
    const std::vector<double> far = numbers(example_norms(x * scale * scale).tensor());
    EXPECT_NEAR(far[1] / scale / plain[1] / scale, 1, 1e-14);
  }
}

TEST(ExampleNorms, RowsOfOneIndexAreOne) {
  constexpr int64_t kBatch = 3, kInner = 2, kRows = 4 * kBatch * kInner;
  std::vector<int64_t> indices;
  for (int64_t r = 0; r < kRows; ++r) indices.push_back(r * r % 5);
  for (const DType dtype : {DType::float64, DType::float32})
    for (const double scale : {1.0, dtype == DType::float64 ? 1e200 : 1e30}) {
      const Tensor rows = draw({kRows, 3}, dtype, 4, scale);
      GradientTape tape;
      const std::vector<double> norms =
          numbers(example_row_norms(tape.input(Tensor::copy_of<int64_t>({kRows}, indices)),
                                    tape.input(rows), kInner, kBatch)
                      .tensor());
      const std::vector<double> x = numbers(rows);
      for (int64_t e = 0; e < kBatch; ++e) {
        std::vector<double> dense(15);
        for (size_t r = 0; r < kRows; ++r)
          if (static_cast<int64_t>(r) / kInner % kBatch == e)
            for (size_t j = 0; j < 3; ++j)
              dense[static_cast<size_t>(indices[r]) * 3 + j] += x[r * 3 + j] / scale;
        EXPECT_NEAR(norms[static_cast<size_t>(e)] / scale, norm_of(dense), 1e-14 * norm_of(dense));
      }
    }
}

TEST(ExampleSums, WhatHasAFactorOfZeroIsNotLookedAt) {
  GradientTape tape;
  const Value factors = tape.input(vector({0.5, 0, 1}, DType::float64));
  Tensor x = draw({6, 4}, DType::float64, 1), y = draw({6, 2}, DType::float64, 2);
  const auto scaled = [&](const Tensor& t, int64_t stride) {
    return numbers(scale_examples(tape.input(t), factors, stride).tensor());
  };
  const std::vector<double> before = scaled(x, 8);  // rows 2 and 3 are of the second example
  for (size_t k = 8; k < 16; ++k) {
    EXPECT_EQ(before[k], 0);
    EXPECT_EQ(before[k - 8], x.flat<double>()[k - 8] / 2);
    EXPECT_EQ(before[k + 8], x.flat<double>()[k + 8]);
  }
  const auto product = [&] {
    const Value b = scale_examples(tape.input(y), factors, 4);
    return numbers(example_product({tape.input(x), b, 2}, factors).tensor());
  };
  const std::vector<double> finite = product();
  std::vector<double> want(8);
  const double factor_of[] = {0.5, 0, 1};
  for (int64_t e = 0; e < 3; ++e) {
    const std::vector<double> one = product_of(x, y, {1, 2}, 3, e, {});
    for (size_t k = 0; k < 8; ++k) want[k] += factor_of[e] * one[k];
  }
  for (size_t k = 0; k < 8; ++k) EXPECT_NEAR(finite[k], want[k], 1e-15 * 10);
  x.flat<double>()[9] = kInf;
  y.flat<double>()[5] = std::nan("");
  EXPECT_EQ(scaled(x, 8), before);
  EXPECT_EQ(product(), finite);
}

}  // namespace
}  // namespace rein
