#include "rein/tensor/gradient.h"

#include <gtest/gtest.h>

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
