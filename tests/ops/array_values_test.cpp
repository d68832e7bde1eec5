// What array ops give, against plain loops over indices.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "rein/compute/ops.h"
#include "rein/compute/tape.h"

namespace rein {
namespace {

using Index = std::vector<int64_t>;

// 1, 2, 3, ... so that every element is told from every other.
Tensor counted(const Shape& shape, DType dtype = DType::float32) {
  Tensor t(shape, DType::int64);
  auto x = t.flat<int64_t>();
  std::iota(x.begin(), x.end(), int64_t{1});
  return t.cast(dtype);
}

int64_t place(const Shape& shape, const Index& index) {
  int64_t at = 0;
  for (size_t i = 0; i < index.size(); ++i) at = at * shape[static_cast<int>(i)] + index[i];
  return at;
}
double at(const Tensor& t, const Index& index) {
  return t.cast(DType::float64).flat<double>()[static_cast<size_t>(place(t.shape(), index))];
}

void for_each_index(const Shape& shape, const std::function<void(const Index&)>& f) {
  Index index(static_cast<size_t>(shape.rank()));
  for (int64_t n = shape.size(), k = 0; k < n; ++k) {
    int64_t rest = k;
    for (int i = shape.rank(); i-- > 0; rest /= shape[i])
      index[static_cast<size_t>(i)] = rest % shape[i];
    f(index);
  }
}

void expect_values(const Value& y, const Shape& shape,
                   const std::function<double(const Index&)>& want) {
  const Tensor t = y.tensor();
  ASSERT_EQ(t.shape(), shape);
  for_each_index(shape, [&](const Index& i) {
    ASSERT_EQ(at(t, i), want(i)) << "at element " << place(shape, i) << " of " << to_string(shape);
  });
}

class EveryType : public testing::TestWithParam<DType> {
 protected:
  GradientTape tape;
  Value input(const Shape& shape) { return tape.input(counted(shape, GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(ArrayOps, EveryType,
                         testing::Values(DType::float32, DType::float64, DType::int32,
                                         DType::int64),
                         [](const auto& row) { return std::string(to_string(row.param)); });

TEST_P(EveryType, ReshapeKeepsTheOrder) {
  const Value x = input({2, 6});
  expect_values(reshape(x, {3, -1}), {3, 4},
                [](const Index& i) { return static_cast<double>(i[0] * 4 + i[1] + 1); });
  EXPECT_EQ(reshape(x, {-1}).tensor().data(), x.tensor().data());  // a view
  EXPECT_EQ(reshape(input({0, 3}), {-1, 3}).shape(), (Shape{0, 3}));
}

TEST_P(EveryType, TransposeMovesAxes) {
  const Value x = input({2, 3, 4});
  const Tensor t = x.tensor();
  expect_values(transpose(x), {4, 3, 2}, [&](const Index& i) { return at(t, {i[2], i[1], i[0]}); });
  expect_values(transpose(x, {1, 0, 2}), {3, 2, 4}, [&](const Index& i) {
    return at(t, {i[1], i[0], i[2]});
  });
  expect_values(transpose(x, {-1, 0, 1}), {4, 2, 3}, [&](const Index& i) {
    return at(t, {i[1], i[2], i[0]});
  });
  EXPECT_EQ(transpose(x, {0, 1, 2}).tensor().data(), t.data());
  const Value one = input({1, 3, 4});
  EXPECT_EQ(transpose(one, {1, 0, 2}).tensor().data(), one.tensor().data());
  EXPECT_EQ(transpose(one, {1, 0, 2}).shape(), (Shape{3, 1, 4}));
  EXPECT_NE(transpose(one, {2, 0, 1}).tensor().data(), one.tensor().data());
}

TEST_P(EveryType, BroadcastRepeats) {
  const Value x = input({2, 1, 3});
  expect_values(broadcast_to(x, {4, 2, 5, 3}), {4, 2, 5, 3}, [&](const Index& i) {
    return at(x.tensor(), {i[1], 0, i[3]});
  });
  EXPECT_EQ(broadcast_to(x, {0, 2, 1, 3}).shape(), (Shape{0, 2, 1, 3}));
}

TEST_P(EveryType, ConcatAndSplitAlongEachAxis) {
  for (int axis : {0, 1, 2, -1, -3}) {
    const int a = axis < 0 ? axis + 3 : axis;
    Shape other{2, 3, 4};
    other[a] = 5;
    const Value x = input({2, 3, 4}), y = input(other);
    const int64_t n = x.shape()[a];
    const Value both = concat(Values{x, y}, {.axis = axis});
    Shape shape = other;
    shape[a] += n;
    expect_values(both, shape, [&](Index i) {
      const auto k = static_cast<size_t>(a);
      if (i[k] < n) return at(x.tensor(), i);
      i[k] -= n;
      return at(y.tensor(), i);
    });
    const Values pieces = split(both, {n, 5}, {.axis = axis});
    ASSERT_EQ(pieces.size(), 2u);
    expect_values(pieces[0], x.shape(), [&](const Index& i) { return at(x.tensor(), i); });
    expect_values(pieces[1], y.shape(), [&](const Index& i) { return at(y.tensor(), i); });
  }
}

TEST_P(EveryType, StackAndUnstackAlongEachAxis) {
  for (int axis : {0, 1, 2, -1, -3}) {
    const auto a = static_cast<size_t>(axis < 0 ? axis + 3 : axis);
    const Value x = input({2, 3}), y = slice(input({4, 3}), {2, 0}, {2, 3});
    const Value both = stack(Values{x, y}, {.axis = axis});
    Index shape{2, 3};
    shape.insert(shape.begin() + static_cast<ptrdiff_t>(a), 2);
    expect_values(both, Shape(shape), [&](Index i) {
      const bool second = i[a] == 1;
      i.erase(i.begin() + static_cast<ptrdiff_t>(a));
      return at(second ? y.tensor() : x.tensor(), i);
    });
    const Values pieces = unstack(both, {.axis = axis});
    ASSERT_EQ(pieces.size(), 2u);
    expect_values(pieces[1], {2, 3}, [&](const Index& i) { return at(y.tensor(), i); });
  }
}

TEST_P(EveryType, SliceAndPad) {
  const Value x = input({4, 5, 3});
  expect_values(slice(x, {1, 2, 0}, {2, -1, 2}), {2, 3, 2}, [&](const Index& i) {
    return at(x.tensor(), {i[0] + 1, i[1] + 2, i[2]});
  });
  EXPECT_EQ(slice(x, {4, 0, 0}, {0, -1, -1}).shape(), (Shape{0, 5, 3}));
  // Whole rows, and part of one row, are views.
  const auto* data = static_cast<const std::byte*>(x.tensor().data());
  const size_t size = size_of(GetParam());
  EXPECT_EQ(slice(x, {2, 0, 0}, {2, -1, -1}).tensor().data(), data + 30 * size);
  EXPECT_EQ(slice(x, {1, 2, 0}, {1, 3, -1}).tensor().data(), data + 21 * size);
  EXPECT_EQ(slice(x, {1, 2, 1}, {1, 1, 2}).tensor().data(), data + 22 * size);

  expect_values(pad(x, {{1, 0}, {0, 2}, {2, 1}}), {5, 7, 6}, [&](const Index& i) {
    const bool inside = i[0] >= 1 && i[1] < 5 && i[2] >= 2 && i[2] < 5;
    return inside ? at(x.tensor(), {i[0] - 1, i[1], i[2] - 2}) : 0.0;
  });
}

TEST_P(EveryType, GatherPicksRows) {
  const Value x = input({4, 3});
  for (DType d : {DType::int32, DType::int64}) {
    const Tensor indices = Tensor::of<int64_t>({2, 2}, {3, 0, 1, 3}).cast(d);
    expect_values(gather(x, indices), {2, 2, 3}, [&](const Index& i) {
      return at(x.tensor(), {static_cast<int64_t>(at(indices, {i[0], i[1]})), i[2]});
    });
  }
  expect_values(gather(x, Tensor::scalar<int32_t>(2)), {3}, [&](const Index& i) {
    return at(x.tensor(), {2, i[0]});
  });
}

TEST_P(EveryType, OneHotSetsOnes) {
  const Value indices = tape.input(Tensor::of<int32_t>({2, 2}, {0, 2, 5, -1}));
  const Value y = one_hot(indices, 3, GetParam());
  EXPECT_EQ(y.dtype(), GetParam());
  expect_values(y, {2, 2, 3}, [&](const Index& i) {
    return at(indices.tensor(), {i[0], i[1]}) == static_cast<double>(i[2]) ? 1.0 : 0.0;
  });
}

TEST(ScatterRows, AddsRows) {
  GradientTape tape;
  const Value values = tape.input(Tensor::of<float>({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  const auto y = scatter_rows(Tensor::of<int32_t>({4}, {2, 0, 2, 9}), values, {3, 2}).tensor();
  const auto got = y.flat<float>();
  EXPECT_EQ(std::vector<float>(got.begin(), got.end()), (std::vector<float>{3, 4, 0, 0, 6, 8}));
}

// Every set of axes of a few shapes.
TEST(Reductions, AgreeWithPlainLoops) {
  for (const Shape& shape : {Shape{3}, Shape{2, 5}, Shape{3, 1, 4}, Shape{2, 3, 4, 5}, Shape{2, 0}})
    for (unsigned set = 0; set < 1u << shape.rank(); ++set)
      for (bool keepdims : {false, true}) {
        GradientTape tape;
        Reduce options{.axes = {}, .keepdims = keepdims};
        for (int a = 0; a < shape.rank(); ++a)
          if (set >> a & 1) options.axes.push_back(a % 2 ? a : a - shape.rank());
        const unsigned reduced = set == 0 ? (1u << shape.rank()) - 1 : set;  // no axes: all
        Shape result;
        for (int a = 0; a < shape.rank(); ++a)
          if (!(reduced >> a & 1))
            result.push_back(shape[a]);
          else if (keepdims)
            result.push_back(1);
        const Tensor t = counted(shape);
        std::vector<double> sum(static_cast<size_t>(result.size())), max = sum;
        for_each_index(shape, [&](const Index& i) {
          Index to;
          for (int a = 0; a < shape.rank(); ++a)
            if (!(reduced >> a & 1)) to.push_back(i[static_cast<size_t>(a)]);
          Shape kept;
          for (int a = 0; a < shape.rank(); ++a)
            if (!(reduced >> a & 1)) kept.push_back(shape[a]);
          const auto k = static_cast<size_t>(place(kept, to));
          sum[k] += at(t, i);
          max[k] = std::max(max[k], at(t, i));
        });
        const Value x = tape.input(t);
        const double n = static_cast<double>(shape.size()) / static_cast<double>(result.size());
        expect_values(reduce_sum(x, options), result, [&](const Index& i) {
          return sum[static_cast<size_t>(place(result, i))];  // small integers: exact
        });
        if (shape.size() == 0) continue;
        expect_values(reduce_mean(x, options), result, [&](const Index& i) {
          return static_cast<double>(
              static_cast<float>(sum[static_cast<size_t>(place(result, i))] / n));
        });
        expect_values(reduce_max(x, options), result,
                      [&](const Index& i) { return max[static_cast<size_t>(place(result, i))]; });
      }
}

TEST(Reductions, OfNothing) {
  GradientTape tape;
  const Value none = tape.input(Tensor({0, 3}));
  EXPECT_EQ(reduce_sum(none).item(), 0);
  EXPECT_TRUE(std::isnan(reduce_mean(none).item()));
  EXPECT_EQ(reduce_sum(none, {.axes = {1}}).shape(), (Shape{0}));
}

TEST(ReduceMax, EqualMaximaShareTheGradient) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<float>({2, 4}, {1, 5, 5, 2, 7, 7, 7, 7}));
  const Value y = reduce_max(x, {.axes = {1}}) * Tensor::of<float>({2}, {2, 8});
  const Tensor dx = gradients(y, {&x, 1})[0].tensor();
  const auto got = dx.flat<float>();
  EXPECT_EQ(std::vector<float>(got.begin(), got.end()),
            (std::vector<float>{0, 1, 1, 0, 2, 2, 2, 2}));
}

TEST(ReduceMax, OfNaNIsNaN) {
  GradientTape tape;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Value x = tape.input(Tensor::of<float>({2, 2}, {nan, 3, 4, 5}));
  const Tensor y = reduce_max(x, {.axes = {1}}).tensor();
  EXPECT_TRUE(std::isnan(y.flat<float>()[0]));
  EXPECT_EQ(y.flat<float>()[1], 5);
}

}  // namespace
}  // namespace rein
