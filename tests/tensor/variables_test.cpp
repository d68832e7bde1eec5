#include "rein/tensor/variables.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

Initializer counting(double from) {
  return [=](const Shape&, const RandomStream&, std::span<double> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = from + static_cast<double>(i);
  };
}
const Initializer kNormal = [](const Shape&, const RandomStream& random, std::span<double> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = random.normal(i);
};

TEST(Variables, AreNamedViewsOfOneBlock) {
  Variables vars;
  const Variable w = vars.add("w", {2, 3}, counting(1)), b = vars.add("b", {3}, counting(10));
  EXPECT_EQ(vars.size(), 2u);
  EXPECT_EQ(vars.parameter_count(), 9);
  EXPECT_EQ(vars[1], b);
  EXPECT_EQ(vars.at("w"), w);
  EXPECT_EQ(b.name(), "b");
  EXPECT_EQ(w.shape(), (Shape{2, 3}));
  EXPECT_EQ(vars.values<float>(0)[5], 6);
  EXPECT_EQ(vars.values<float>(1)[2], 12);
  EXPECT_EQ(w.read().flat<float>()[0], 1);
}

TEST(Variables, StartAtCacheLinesWithZerosBetween) {
  Variables vars({}, DType::float64);
  vars.add("a", {3}, counting(1));
  vars.add("b", {9}, counting(1));
  const Layout& layout = vars.layout();
  EXPECT_EQ(layout.entries[1].offset, 8u);
  EXPECT_EQ(layout.size, 24u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(vars.values<double>(1).data()) % Buffer::kAlignment, 0u);
  const auto* block = static_cast<const double*>(vars.block());
  double padding = 0;
  for (size_t i : {3u, 4u, 5u, 6u, 7u, 17u, 18u, 19u, 20u, 21u, 22u, 23u})
    padding += std::abs(block[i]);
  EXPECT_EQ(padding, 0);
}

TEST(Variables, KeepTheirNumbersWhileTheBlockGrows) {
  Variables vars;
  std::vector<Variable> all;
  for (int i = 0; i < 50; ++i)
    all.push_back(vars.add(std::to_string(i), {i + 1}, counting(100 * i)));
  for (int i = 0; i < 50; ++i) {
    const Tensor t = all[static_cast<size_t>(i)].read();
    for (int k = 0; k <= i; ++k)
      ASSERT_EQ(t.flat<float>()[static_cast<size_t>(k)], static_cast<float>(100 * i + k));
  }
}

TEST(Variables, DrawByNameAndSeedNotByOrder) {
  Variables ab(Seed{3}), ba(Seed{3}), other(Seed{4});
  const auto a1 = ab.add("a", {5}, kNormal).read(), b1 = ab.add("b", {5}, kNormal).read();
  const auto b2 = ba.add("b", {5}, kNormal).read(), a2 = ba.add("a", {5}, kNormal).read();
  const auto a3 = other.add("a", {5}, kNormal).read();
  auto same = [](const Tensor& x, const Tensor& y) {
    return std::memcmp(x.data(), y.data(), x.spec().bytes()) == 0;
  };
  EXPECT_TRUE(same(a1, a2));
  EXPECT_TRUE(same(b1, b2));
  EXPECT_FALSE(same(a1, b1));
  EXPECT_FALSE(same(a1, a3));
}

TEST(Variables, RefuseBadOnesAndChangeNothing) {
  Variables vars;
  vars.add("out/weights", {2}, counting(0));
  EXPECT_EQ(error_of([&] { vars.add("", {2}, counting(0)); }),
            "Variables::add: a variable needs a name");
  EXPECT_EQ(error_of([&] { vars.add("out/weights", {3}, counting(0)); }),
            "Variables::add: a variable named 'out/weights' exists already; give this one another "
            "name or scope");
  EXPECT_EQ(error_of([&] {
              vars.add("x", {2, 0}, counting(0));
            }),
            "Variables::add: 'x' needs positive sizes, got [2, 0]");
  EXPECT_EQ(error_of([&] { vars.add("x", {-1}, counting(0)); }),
            "Variables::add: 'x' needs positive sizes, got [-1]");
  EXPECT_EQ(error_of([&] { vars.add("x", {2}, nullptr); }),
            "Variables::add: 'x' has no initializer");
  EXPECT_EQ(error_of([] { Variables({}, DType::int32); }),
            "Variables: parameters are float32 or float64, got int32");
  EXPECT_THROW(vars.add("x", {2},
                        [](const Shape&, const RandomStream&, std::span<double>) {
                          throw std::runtime_error("no numbers");
                        }),
               std::runtime_error);
  EXPECT_EQ(vars.size(), 1u);
  EXPECT_FALSE(vars.contains("x"));
  const int line = __LINE__ + 1;
  EXPECT_TRUE(test::names_place([&] { vars.add("", {2}, counting(0)); }, __FILE__, line));
}

TEST(Variables, SuggestTheNearestName) {
  Variables vars;
  vars.add("out/weights", {2}, counting(0));
  EXPECT_EQ(error_of([&] { vars.at("out/weight"); }),
            "Variables::at: no variable is named 'out/weight'; did you mean 'out/weights'?");
}

TEST(Variables, AssignSetsOneAndOnlyWhatFits) {
  Variables vars, others;
  const Variable a = vars.add("a", {2}, counting(0)), b = vars.add("b", {2}, counting(5));
  const Variable foreign = others.add("a", {2}, counting(0));
  vars.assign(a, Tensor::of<float>({2}, {8, 9}));
  EXPECT_EQ(a.read().flat<float>()[1], 9);
  EXPECT_EQ(b.read().flat<float>()[0], 5);
  EXPECT_EQ(error_of([&] { vars.assign(a, Tensor({3})); }),
            "Variables::assign: 'a' is float32 [2], got float32 [3]");
  EXPECT_EQ(error_of([&] { vars.assign(a, Tensor({2}, DType::float64)); }),
            "Variables::assign: 'a' is float32 [2], got float64 [2]");
  EXPECT_EQ(error_of([&] { vars.assign(foreign, Tensor({2})); }),
            "Variables::assign: the variable belongs to other Variables");
  EXPECT_EQ(a.read().flat<float>()[1], 9);
}

struct GradientsTest : testing::Test {
  Variables vars;
  Variable w = vars.add("w", {3, 2}, counting(0)), b = vars.add("b", {2}, counting(0));
  Gradients gradients{vars};
};

TEST_F(GradientsTest, StartAbsent) {
  EXPECT_EQ(gradients.size(), 2u);
  EXPECT_EQ(gradients.kind(0), Gradients::Kind::absent);
  EXPECT_FALSE(gradients.get(1));
  EXPECT_EQ(gradients.name(1), "b");
}

TEST_F(GradientsTest, ScaleIsMultipliedInWhenRead) {
  gradients.set(1, Tensor::of<float>({2}, {3, -4}));
  gradients.scale = 0.5;
  EXPECT_EQ(gradients.get(1).dense().flat<float>()[1], -2);
  EXPECT_EQ(gradients.dense<float>(1)[1], -4);
  EXPECT_EQ(gradients.stored<float>(1)[0], 3);
}

TEST_F(GradientsTest, SparseOnesStaySparseAndAreCopies) {
  IndexedSlices rows{Tensor::of<float>({1, 2}, {1, 2}), Tensor::of<int64_t>({1}, {2}), {3, 2}};
  gradients.set(0, rows);
  rows.values.flat<float>()[0] = 50;
  gradients.scale = 3;
  const Gradient got = gradients.get(0);
  ASSERT_TRUE(got.is_sparse());
  EXPECT_EQ(got.values().flat<float>()[0], 3);
  EXPECT_EQ(got.sparse().indices.flat<int64_t>()[0], 2);
  EXPECT_EQ(gradients.stored<float>(0).size(), 2u);
}

TEST_F(GradientsTest, SetAgainReplaces) {
  gradients.set(0, Tensor({3, 2}));
  gradients.set(0, IndexedSlices{Tensor({1, 2}), Tensor::of<int64_t>({1}, {2}), {3, 2}});
  EXPECT_EQ(gradients.kind(0), Gradients::Kind::sparse);
  gradients.set(0, Gradient());
  EXPECT_EQ(gradients.kind(0), Gradients::Kind::absent);
}

TEST_F(GradientsTest, OnlyWhatFits) {
  EXPECT_EQ(error_of([&] { gradients.set(1, Tensor({3})); }),
            "Gradients::set: 'b' is float32 [2], got float32 [3]");
  EXPECT_EQ(error_of([&] { gradients.set(1, Tensor({2}, DType::float64)); }),
            "Gradients::set: 'b' is float32 [2], got float64 [2]");
  // An update would write these rows: none may lie outside the variable.
  EXPECT_EQ(
      error_of([&] {
        gradients.set(0, IndexedSlices{Tensor({1, 2}), Tensor::of<int64_t>({1}, {3}), {3, 2}});
      }),
      "IndexedSlices: index 3 is not a row of [3, 2]");
  EXPECT_EQ(gradients.kind(0), Gradients::Kind::absent);
}

}  // namespace
}  // namespace rein
