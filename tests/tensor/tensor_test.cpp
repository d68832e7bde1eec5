#include "rein/tensor/tensor.h"

#include <gtest/gtest.h>

#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

TEST(Tensor, StartsAsZeros) {
  const Tensor t({2, 3});
  EXPECT_EQ(t.dtype(), DType::float32);
  EXPECT_EQ(t.size(), 6);
  for (float v : t.flat<float>()) EXPECT_EQ(v, 0);
}

TEST(Tensor, CopiesShareAndClonesDoNot) {
  auto t = Tensor::of<float>({2}, {1, 2});
  Tensor same = t, other = t.clone();
  same.flat<float>()[0] = 7;
  EXPECT_EQ(t.flat<float>()[0], 7);
  EXPECT_EQ(other.flat<float>()[0], 1);
}

TEST(Tensor, PartsShareAndOutliveTheWhole) {
  Tensor part;
  {
    auto t = Tensor::of<int32_t>({2, 3}, {1, 2, 3, 4, 5, 6});
    part = t.piece(3, {3});
    t.reshaped({3, 2}).flat<int32_t>()[4] = 50;
  }
  EXPECT_EQ(part.flat<int32_t>()[0], 4);
  EXPECT_EQ(part.flat<int32_t>()[1], 50);
}

TEST(Tensor, ViewsLookAtTheMemoryOfOthers) {
  double numbers[] = {1, 2, 3};
  Tensor t = Tensor::view({{3}, DType::float64}, numbers);
  t.flat<double>()[1] = 9;
  EXPECT_EQ(numbers[1], 9);
}

TEST(Tensor, Casts) {
  const auto t = Tensor::of<double>({3}, {1.75, -2.5, 3});
  EXPECT_EQ(t.cast(DType::int32).flat<int32_t>()[0], 1);
  EXPECT_EQ(t.cast(DType::int64).flat<int64_t>()[1], -2);
  EXPECT_EQ(t.cast(DType::float32).flat<float>()[0], 1.75f);
  Tensor same = t.cast(DType::float64);
  same.flat<double>()[0] = 0;
  EXPECT_EQ(t.flat<double>()[0], 1.75);
}

TEST(Tensor, Items) {
  EXPECT_EQ(Tensor::scalar(2.5f).item(), 2.5);
  EXPECT_EQ(Tensor::of<int64_t>({1, 1}, {4}).item(), 4);
  EXPECT_EQ(error_of([] { Tensor({2}).item(); }), "Tensor::item: shape [2] has not one element");
}

TEST(Tensor, EmptyOnes) {
  const Tensor none;
  EXPECT_TRUE(none.defined());  // an array without elements needs no storage
  EXPECT_EQ(none.size(), 0);
  const Tensor t({0, 4});
  EXPECT_EQ(t.clone().shape(), (Shape{0, 4}));
  EXPECT_EQ(t.cast(DType::float64).size(), 0);
  EXPECT_EQ(t.reshaped({2, 0}).size(), 0);
  EXPECT_EQ(Tensor::copy_of<float>({0}, {}).size(), 0);
}

TEST(Tensor, Errors) {
  EXPECT_EQ(error_of([] { Tensor({2, -3}); }), "Tensor: negative size in [2, -3]");
  EXPECT_EQ(error_of([] { Tensor::of<float>({2}, {1, 2, 3}); }), "Tensor: 3 values for shape [2]");
  EXPECT_EQ(error_of([] { Tensor({2}).flat<double>(); }),
            "Tensor::flat: asked for float64 of a tensor of float32");
  EXPECT_EQ(error_of([] { Tensor({2}).reshaped({3}); }),
            "Tensor::reshaped: [3] has not the size of [2]");
  const int line = __LINE__ + 1;
  EXPECT_TRUE(test::names_place([] { Tensor({2}).reshaped({3}); }, __FILE__, line));
}

}  // namespace
}  // namespace rein
