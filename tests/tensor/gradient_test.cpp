#include "rein/tensor/gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

IndexedSlices slices(std::initializer_list<int64_t> indices, std::initializer_list<float> values) {
  const auto n = static_cast<int64_t>(indices.size());
  return {Tensor::of<float>({n, 2}, values), Tensor::of<int64_t>({n}, indices), {4, 2}};
}

template <class T>
std::vector<T> numbers(const Tensor& t) {
  const auto x = t.flat<T>();
  return {x.begin(), x.end()};
}

TEST(MergeDuplicates, SortsRowsAndAddsEqualOnes) {
  const auto merged = merge_duplicates(slices({3, 0, 3, 1, 0}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(numbers<int64_t>(merged.indices), (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(numbers<float>(merged.values), (std::vector<float>{12, 14, 7, 8, 6, 8}));
  EXPECT_EQ(merged.dense_shape, (Shape{4, 2}));
}

TEST(MergeDuplicates, AddsInTheOrderInWhichTheyStood) {
  const float big = 1e8f;  // (1e8 + 1) - 1e8 is 0 in float32, (1e8 - 1e8) + 1 is 1
  EXPECT_EQ(
      numbers<float>(merge_duplicates(slices({2, 2, 2}, {big, big, 1, -big, -big, 1})).values),
      (std::vector<float>{0, 1}));
}

TEST(MergeDuplicates, SortsRowsOfTallTables) {
  constexpr int64_t kRows = 5'000'000, kCount = 4000;  // three digits of the sort
  IndexedSlices s{Tensor({kCount, 1}, DType::float32), Tensor({kCount}, DType::int64), {kRows, 1}};
  const auto rows = s.indices.flat<int64_t>();
  const auto values = s.values.flat<float>();
  std::map<int64_t, float> want;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = i % 4 == 3 ? rows[i / 2] : static_cast<int64_t>(i) * 1'234'577 % kRows;
    values[i] = 1.0f / static_cast<float>(i + 1);
    want[rows[i]] += values[i];  // in the order in which they stand
  }
  const auto merged = merge_duplicates(s);
  std::map<int64_t, float> got;
  const auto indices = numbers<int64_t>(merged.indices);
  const auto sums = numbers<float>(merged.values);
  EXPECT_TRUE(std::ranges::is_sorted(indices));
  for (size_t i = 0; i < indices.size(); ++i) got[indices[i]] = sums[i];
  EXPECT_EQ(got, want);
  EXPECT_EQ(indices.size(), want.size());
}

TEST(MergeDuplicates, OfNothingIsNothing) {
  const auto merged = merge_duplicates(slices({}, {}));
  EXPECT_EQ(merged.values.shape(), (Shape{0, 2}));
  EXPECT_EQ(merged.indices.shape(), (Shape{0}));
}

TEST(ToDense, AddsRowsWhereTheyBelong) {
  EXPECT_EQ(numbers<float>(to_dense(slices({3, 0, 3}, {1, 2, 3, 4, 5, 6}))),
            (std::vector<float>{3, 4, 0, 0, 0, 0, 6, 8}));
  EXPECT_EQ(numbers<float>(to_dense(slices({}, {}))), std::vector<float>(8));
}

TEST(ToDense, MergedOrNotIsTheSame) {
  const auto s = slices({3, 0, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(numbers<float>(to_dense(merge_duplicates(s))), numbers<float>(to_dense(s)));
}

TEST(IndexedSlices, BadOnesAreRefused) {
  EXPECT_EQ(error_of([] {
              to_dense(slices({4}, {1, 2}));
            }),
            "IndexedSlices: index 4 is not a row of [4, 2]");
  EXPECT_EQ(error_of([] {
              merge_duplicates(slices({-1}, {1, 2}));
            }),
            "IndexedSlices: index -1 is not a row of [4, 2]");
  auto wide = slices({1}, {1, 2});
  wide.dense_shape = {4, 3};
  EXPECT_EQ(error_of([&] { to_dense(wide); }),
            "IndexedSlices: values [1, 2] at indices [1] are no rows of [4, 3]");
  auto typed = slices({1}, {1, 2});
  typed.indices = typed.indices.cast(DType::int32);
  EXPECT_EQ(error_of([&] { to_dense(typed); }),
            "IndexedSlices: values are floating and indices int64, got float32 [1, 2] and int32 "
            "[1]");
  auto scalar = slices({1}, {1, 2});
  scalar.dense_shape = {};
  EXPECT_EQ(error_of([&] { validate(scalar); }), "IndexedSlices: a scalar has no rows");
}

TEST(SlicesBuffer, KeepsItsMemory) {
  SlicesBuffer buffer;
  const auto fill = [&](const IndexedSlices& s) {
    buffer.assign(s.values, s.indices, s.dense_shape);
    buffer.merge_duplicates();
    return buffer.slices().values.data();
  };
  const void* first = fill(slices({3, 0, 3}, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(numbers<float>(buffer.slices().values), (std::vector<float>{3, 4, 6, 8}));
  const void* second = fill(slices({1, 1, 0}, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(numbers<float>(buffer.slices().values), (std::vector<float>{5, 6, 4, 6}));
  EXPECT_EQ(numbers<int64_t>(buffer.slices().indices), (std::vector<int64_t>{0, 1}));
  const void* third = fill(slices({2}, {1, 2}));  // in order: stays where it was copied to
  EXPECT_EQ(numbers<float>(buffer.slices().values), (std::vector<float>{1, 2}));
  EXPECT_NE(first, second);  // rows move between two blocks
  EXPECT_EQ(second, third);
  EXPECT_EQ(fill(slices({3, 0, 3}, {1, 2, 3, 4, 5, 6})), first);
}

TEST(SlicesBuffer, TakesBothTypesOfIndices) {
  SlicesBuffer buffer;
  buffer.assign(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), Tensor::of<int32_t>({2}, {3, 1}), {4, 2});
  EXPECT_EQ(numbers<int64_t>(buffer.slices().indices), (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(error_of([&] {
              buffer.assign(Tensor({1, 2}), Tensor::of<int32_t>({1}, {-1}), {4, 2});
            }),
            "IndexedSlices: index -1 is not a row of [4, 2]");
}

TEST(SlicesBuffer, ATeamAddsUpTheSameBits) {
  constexpr int64_t kRows = 300, kWidth = 700;
  Tensor values({kRows, kWidth}), indices({kRows}, DType::int64);
  for (size_t i = 0; i < static_cast<size_t>(values.size()); ++i)
    values.flat<float>()[i] = 1.0f / static_cast<float>(1 + i % 1009);
  for (size_t k = 0; k < static_cast<size_t>(kRows); ++k)
    indices.flat<int64_t>()[k] = static_cast<int64_t>(k * 37 % 41);
  ThreadTeam team(3);
  SlicesBuffer shared;
  shared.assign(values, indices, {50, kWidth});
  shared.merge_duplicates(&team);
  const IndexedSlices alone = merge_duplicates({values, indices, {50, kWidth}});
  EXPECT_EQ(shared.slices().indices.size(), 41);
  EXPECT_EQ(numbers<float>(shared.slices().values), numbers<float>(alone.values));
}

TEST(Gradient, KnowsWhatItIs) {
  const Gradient absent, dense = Tensor({3}), sparse = slices({1}, {1, 2});
  EXPECT_FALSE(absent);
  EXPECT_TRUE(dense && dense.is_dense() && !dense.is_sparse());
  EXPECT_TRUE(sparse && sparse.is_sparse() && !sparse.is_dense());
  EXPECT_EQ(dense.shape(), (Shape{3}));
  EXPECT_EQ(sparse.shape(), (Shape{4, 2}));
  EXPECT_EQ(sparse.values().shape(), (Shape{1, 2}));
}

TEST(Gradient, OtherNumbersKeepItsKind) {
  const Gradient sparse = slices({1}, {1, 2});
  const Gradient other = sparse.with_values(Tensor::of<float>({1, 2}, {7, 8}));
  EXPECT_EQ(numbers<float>(to_dense(other.sparse())), (std::vector<float>{0, 0, 7, 8, 0, 0, 0, 0}));
  EXPECT_EQ(numbers<float>(sparse.values()), (std::vector<float>{1, 2}));
  EXPECT_TRUE(Gradient(Tensor({2})).with_values(Tensor({2})).is_dense());
}

TEST(Gradient, AsksForTheWrongKind) {
  EXPECT_EQ(error_of([] { Gradient().dense(); }), "Gradient::dense: it is absent or sparse");
  EXPECT_EQ(error_of([] { Gradient(Tensor({2})).sparse(); }),
            "Gradient::sparse: it is absent or dense");
  EXPECT_EQ(error_of([] { Gradient().values(); }), "Gradient::dense: it is absent or sparse");
}

}  // namespace
}  // namespace rein
