#include "rein/base/shape.h"

#include <gtest/gtest.h>

#include "rein/base/error.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

TEST(Shape, SizesAndParts) {
  const Shape s{2, 3, 4};
  EXPECT_EQ(s.rank(), 3);
  EXPECT_EQ(s.size(), 24);
  EXPECT_EQ(s.size(1, 3), 12);
  EXPECT_EQ(s.size(1, 1), 1);
  EXPECT_EQ(s.back(), 4);
  EXPECT_EQ(Shape{}.size(), 1);
  EXPECT_EQ((Shape{3, 0, 5}).size(), 0);
}

TEST(Shape, EqualityLooksAtRankAndSizes) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE(Shape{}, Shape{1});
}

TEST(Shape, RefusesWhatHasNoSize) {
  EXPECT_EQ(error_of([] { (Shape{2, -1}).size(); }), "Shape: [2, -1] has a negative size");
  const int64_t big = int64_t{1} << 30;
  EXPECT_EQ((Shape{big, 1 << 29}).size(), int64_t{1} << 59);
  EXPECT_EQ(error_of([=] {
              (Shape{big, big}).size();
            }),
            "Shape: [1073741824, 1073741824] has too many elements");
  EXPECT_EQ(error_of([=] { (Shape{big, big, big, big, big}).size(); }).substr(0, 6), "Shape:");
  // So that bytes never overflow either.
  EXPECT_EQ((Spec{{big, 1 << 29}, DType::float64}.bytes()), size_t{1} << 62);
}

TEST(Shape, HoldsAtMostEightAxes) {
  Shape s{1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(error_of([&] { s.push_back(1); }), "Shape: more than 8 axes");
  EXPECT_EQ(s.rank(), 8);
}

TEST(Shape, Texts) {
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(to_string(Spec{{7}, DType::int64}), "int64 [7]");
}

TEST(DType, SizesNamesAndVisits) {
  EXPECT_EQ(size_of(DType::float32), 4u);
  EXPECT_EQ(size_of(DType::float64), 8u);
  EXPECT_EQ(size_of(DType::int32), 4u);
  EXPECT_EQ(size_of(DType::int64), 8u);
  for (DType d : {DType::float32, DType::float64, DType::int32, DType::int64})
    EXPECT_EQ(visit_dtype(d, [](auto zero) { return dtype_of<decltype(zero)>; }), d);
  EXPECT_EQ(visit_float(DType::float64, [](auto zero) { return sizeof zero; }), 8u);
  EXPECT_EQ(visit_float(DType::float32, [](auto zero) { return sizeof zero; }), 4u);
}

}  // namespace
}  // namespace rein
