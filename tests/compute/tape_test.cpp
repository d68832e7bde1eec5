#include "rein/compute/tape.h"

#include <gtest/gtest.h>

#include "rein/compute/ops.h"

namespace rein {
namespace {

TEST(Tape, Smoke) {
  GradientTape tape;
  Value x = tape.input(Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(reduce_sum(x).item(), 21);
  EXPECT_EQ(transpose(x).tensor().flat<float>()[1], 4);
  auto s = split(x, 2, {});
  EXPECT_EQ(concat(s, {}).tensor().data(), x.tensor().data());
  EXPECT_EQ(pad(x, {{1, 0}, {0, 1}}).tensor().flat<float>()[8 - 4], 1);
}

}  // namespace
}  // namespace rein
