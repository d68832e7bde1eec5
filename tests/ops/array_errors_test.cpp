// What array ops say of arguments they cannot take.
#include <gtest/gtest.h>

#include "rein/compute/ops.h"
#include "rein/compute/tape.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

struct ArrayErrors : testing::Test {
  GradientTape tape;
  Value x = tape.input(Tensor({2, 3})), integers = tape.input(Tensor({2, 3}, DType::int32)),
        scalar = tape.input(Tensor(Shape{}));
};

TEST_F(ArrayErrors, Reductions) {
  EXPECT_EQ(error_of([&] { reduce_sum(x, {.axes = {2}}); }),
            "reduce_sum: axis 2 of 2, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { reduce_mean(x, {.axes = {-3}}); }),
            "reduce_mean: axis -3 of 2, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reduce_sum(x, {.axes = {1, -1}});
            }),
            "reduce_sum: an axis is named twice, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { reduce_sum(integers); }),
            "reduce_sum: needs float32 or float64; use cast, got int32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reduce_max(tape.input(Tensor({2, 0})), {.axes = {1}});
            }),
            "reduce_max: no elements along axis 1, got float32 [2, 0]");
}

TEST_F(ArrayErrors, Reshape) {
  EXPECT_EQ(error_of([&] {
              reshape(x, {4, 2});
            }),
            "reshape: 6 elements do not fit [4, 2], got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reshape(x, {4, -1});
            }),
            "reshape: 6 elements do not fit [4, -1], got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reshape(x, {-1, -1});
            }),
            "reshape: more than one -1 in [-1, -1], got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reshape(x, {-2, 3});
            }),
            "reshape: a size is negative in [-2, 3], got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              reshape(tape.input(Tensor({0})), {0, -1});
            }),
            "reshape: 0 elements do not fit [0, -1], got float32 [0]");
}

TEST_F(ArrayErrors, Transpose) {
  EXPECT_EQ(error_of([&] { transpose(x, {0}); }),
            "transpose: 1 axes for an array of 2, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              transpose(x, {0, 0});
            }),
            "transpose: an axis is named twice, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { transpose(x, {0, 2}); }), "transpose: axis 2 of 2, got float32 [2, 3]");
}

TEST_F(ArrayErrors, BroadcastTo) {
  EXPECT_EQ(error_of([&] {
              broadcast_to(x, {2, 4});
            }),
            "broadcast_to: shapes do not broadcast, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { broadcast_to(x, {3}); }),
            "broadcast_to: does not stretch to [3], got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              broadcast_to(x, {-1, 3});
            }),
            "broadcast_to: does not stretch to [-1, 3], got float32 [2, 3]");
}

TEST_F(ArrayErrors, Concat) {
  EXPECT_EQ(error_of([&] { concat({}); }), "concat: the list is empty");
  EXPECT_EQ(error_of([&] {
              concat(Values{x, tape.input(Tensor({2, 4}))});
            }),
            "concat: shapes differ along another axis than 0, got float32 [2, 3] and float32 [2, "
            "4]");
  EXPECT_EQ(error_of([&] {
              concat(Values{x, tape.input(Tensor({2}))});
            }),
            "concat: the ranks differ, got float32 [2, 3] and float32 [2]");
  EXPECT_EQ(error_of([&] {
              concat(Values{x, integers});
            }),
            "concat: the dtypes differ; use cast, got float32 [2, 3] and int32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              concat(Values{x, x}, {.axis = 2});
            }),
            "concat: axis 2 of 2, got float32 [2, 3] and float32 [2, 3]");
  EXPECT_EQ(error_of([&] { concat(Values{scalar}); }), "concat: axis 0 of 0, got float32 []");
  GradientTape other;
  EXPECT_EQ(error_of([&] {
              concat(Values{x, other.input(Tensor({2, 3}))});
            }),
            "concat: the operands belong to different tapes");
}

TEST_F(ArrayErrors, Split) {
  EXPECT_EQ(error_of([&] { split(x, 2, {.axis = 1}); }),
            "split: axis 1 of size 3 does not divide into 2 pieces, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { split(x, 0); }),
            "split: axis 0 of size 2 does not divide into 0 pieces, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              split(x, {1, 1}, {.axis = 1});
            }),
            "split: the sizes do not add up to 3, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              split(x, {4, -1}, {.axis = 1});
            }),
            "split: the sizes do not add up to 3, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { split(x, std::vector<int64_t>{}); }),
            "split: the list of sizes is empty");
  EXPECT_EQ(error_of([&] { split(scalar, 1); }), "split: axis 0 of 0, got float32 []");
}

TEST_F(ArrayErrors, StackAndUnstack) {
  EXPECT_EQ(error_of([&] { stack({}); }), "stack: the list is empty");
  EXPECT_EQ(error_of([&] {
              stack(Values{x, tape.input(Tensor({3, 2}))});
            }),
            "stack: shapes differ, got float32 [2, 3] and float32 [3, 2]");
  EXPECT_EQ(error_of([&] {
              stack(Values{x, integers});
            }),
            "stack: the dtypes differ; use cast, got float32 [2, 3] and int32 [2, 3]");
  EXPECT_EQ(error_of([&] { stack(Values{x}, {.axis = 3}); }),
            "stack: axis 3 of 3, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] { unstack(scalar); }), "unstack: axis 0 of 0, got float32 []");
  EXPECT_EQ(error_of([&] {
              unstack(tape.input(Tensor({2, 0})), {.axis = 1});
            }),
            "unstack: no elements along axis 1, got float32 [2, 0]");
  const Value full = tape.input(Tensor({1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(error_of([&] { stack(Values{full}); }),
            "stack: more than 8 axes, got float32 [1, 1, 1, 1, 1, 1, 1, 1]");
}

TEST_F(ArrayErrors, SliceAndPad) {
  EXPECT_EQ(error_of([&] { slice(x, {0}, {1}); }),
            "slice: needs one begin and one size for each of 2 axes, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              slice(x, {0, 2}, {1, 2});
            }),
            "slice: begin 2 and size 2 leave axis 1, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              slice(x, {-1, 0}, {1, 1});
            }),
            "slice: begin -1 and size 1 leave axis 0, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              slice(x, {0, 0}, {-2, 1});
            }),
            "slice: begin 0 and size -2 leave axis 0, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              pad(x, {{1, 1}});
            }),
            "pad: 1 paddings for an array of 2 axes, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              pad(x, {{1, 1}, {0, -1}});
            }),
            "pad: a padding is negative, got float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              pad(x, {{int64_t{1} << 40, 0}, {int64_t{1} << 40, 0}});
            }),
            "pad: the result has too many axes or elements, got float32 [2, 3]");
}

TEST_F(ArrayErrors, Rows) {
  EXPECT_EQ(error_of([&] { gather(x, x); }),
            "gather: indices and labels are int32 or int64; use cast, got float32 [2, 3] and "
            "float32 [2, 3]");
  EXPECT_EQ(error_of([&] { gather(scalar, integers); }),
            "gather: a scalar has no rows, got float32 [] and int64 [2, 3]");
  EXPECT_EQ(error_of([&] {
              gather(x, Tensor::of<int32_t>({2}, {0, 2}));
            }),
            "gather: index 2 is not a row of [2, 3]");
  EXPECT_EQ(error_of([&] { gather(x, Tensor::of<int64_t>({1}, {-1})); }),
            "gather: index -1 is not a row of [2, 3]");
  EXPECT_EQ(error_of([&] {
              scatter_rows(integers, x, {4, 3});
            }),
            "scatter_rows: rows of [4, 3] at these indices are [2, 3, 3], got int64 [2, 3] and "
            "float32 [2, 3]");
  EXPECT_EQ(error_of([&] {
              scatter_rows(x, x, {4, 3});
            }),
            "scatter_rows: indices and labels are int32 or int64; use cast, got float32 [2, 3] "
            "and float32 [2, 3]");
  EXPECT_EQ(error_of([&] { scatter_rows(integers, x, {}); }),
            "scatter_rows: a scalar has no rows, got int64 [2, 3] and float32 [2, 3]");
  EXPECT_EQ(error_of([&] { one_hot(integers, 0); }), "one_hot: depth is 0, got int64 [2, 3]");
  EXPECT_EQ(error_of([&] { one_hot(x, 4); }),
            "one_hot: indices and labels are int32 or int64; use cast, got float32 [2, 3]");
}

TEST_F(ArrayErrors, NameTheCallersPlace) {
  const std::vector<std::function<void()>> bad = {[&] { reduce_sum(x, {.axes = {2}}); },
                                                  [&] { reshape(x, {7}); },
                                                  [&] { transpose(x, {0}); },
                                                  [&] { broadcast_to(x, {7}); },
                                                  [&] { concat({}); },
                                                  [&] { concat(Values{x}, {.axis = 5}); },
                                                  [&] { split(x, 7); },
                                                  [&] { split(x, std::vector<int64_t>{7}); },
                                                  [&] {
                                                    stack(Values{x, scalar});
                                                  },
                                                  [&] { unstack(scalar); },
                                                  [&] { slice(x, {}, {}); },
                                                  [&] { pad(x, {}); },
                                                  [&] { gather(x, x); },
                                                  [&] {
                                                    scatter_rows(x, x, {2, 3});
                                                  },
                                                  [&] { one_hot(x, 3); },
                                                  [&] { gather(x, Tensor::scalar<int32_t>(7)); }};
  for (size_t i = 0; i < bad.size(); ++i) {
    bool here = false;
    try {
      bad[i]();
    } catch (const InvalidArgument& error) {
      here = std::string_view(error.what()).find(std::string(" (") + __FILE__ + ":") !=
             std::string_view::npos;
    }
    EXPECT_TRUE(here) << i;
  }
}

TEST_F(ArrayErrors, ChangeNothing) {
  const size_t nodes = tape.graph().nodes().size();
  EXPECT_THROW(reshape(x, {7}), InvalidArgument);
  EXPECT_THROW(concat(Values{x, integers}), InvalidArgument);
  EXPECT_THROW(unstack(scalar), InvalidArgument);
  EXPECT_EQ(tape.graph().nodes().size(), nodes);
}

}  // namespace
}  // namespace rein
