#include "rein/data/dataset.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "support/temporary_folder.h"

namespace rein {
namespace {

using test::contains;
using test::error_of;

DatasetPtr numbers(int64_t n) {
  Tensor x({n, 2}), y({n}, DType::int32);
  for (int64_t i = 0; i < n; ++i) {
    x.flat<float>()[static_cast<size_t>(2 * i)] = static_cast<float>(i);
    x.flat<float>()[static_cast<size_t>(2 * i + 1)] = static_cast<float>(-i);
    y.flat<int32_t>()[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  }
  return in_memory({x, y});
}

std::vector<int32_t> labels(const Dataset& dataset) {
  std::vector<int32_t> found;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Tensor y = dataset.get(i)[1];
    for (int32_t v : y.flat<int32_t>()) found.push_back(v);
  }
  return found;
}

TEST(Dataset, RowsOfTensors) {
  const auto data = numbers(5);
  EXPECT_EQ(data->size(), 5);
  const Example three = data->get(3);
  ASSERT_EQ(three.size(), 2u);
  EXPECT_EQ(three[0].shape(), (Shape{2}));
  EXPECT_EQ(three[0].flat<float>()[1], -3);
  EXPECT_EQ(three[1].shape(), Shape{});
  EXPECT_EQ(three[1].item(), 3);
}

TEST(Dataset, ColumnsMustHaveOneLength) {
  EXPECT_TRUE(contains(error_of<InvalidArgument>([] {
                         in_memory({Tensor({3, 2}), Tensor({4})});
                       }),
                       "got shapes [3, 2] and [4]"));
  EXPECT_THROW(in_memory({}), InvalidArgument);
  EXPECT_THROW(in_memory({Tensor(Shape{})}), InvalidArgument);
}

TEST(Dataset, BatchKeepsOrRemovesTheRemainder) {
  const auto kept = batch(numbers(7), 3);
  ASSERT_EQ(kept->size(), 3);
  EXPECT_EQ(kept->get(0)[0].shape(), (Shape{3, 2}));
  EXPECT_EQ(kept->get(2)[0].shape(), (Shape{1, 2}));
  EXPECT_EQ(labels(*kept), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(kept->get(1)[0].flat<float>()[3], -4);

  const auto dropped = batch(numbers(7), 3, {.drop_remainder = true});
  EXPECT_EQ(dropped->size(), 2);
  EXPECT_EQ(labels(*dropped), (std::vector<int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_THROW(batch(numbers(7), 0), InvalidArgument);
}

TEST(Dataset, BatchOfDifferentShapesIsRefused) {
  struct Growing final : Dataset {
    int64_t size() const override { return 4; }
    Example get(int64_t i) const override { return {Tensor({i + 1})}; }
  };
  const auto batches = batch(std::make_shared<Growing>(), 2);
  EXPECT_TRUE(contains(error_of<InvalidArgument>([&] { batches->get(1); }), "examples 2 and 3"));
}

TEST(Dataset, ShuffleIsAPermutationOfItsOwnEachEpoch) {
  const auto data = numbers(100);
  const auto first = labels(*batch(shuffle(data, Seed{1}, 0), 1));
  EXPECT_EQ(std::set<int32_t>(first.begin(), first.end()).size(), 100u);
  EXPECT_EQ(first, labels(*batch(shuffle(data, Seed{1}, 0), 1)));
  EXPECT_NE(first, labels(*batch(shuffle(data, Seed{1}, 1), 1)));
  EXPECT_NE(first, labels(*batch(shuffle(data, Seed{2}, 0), 1)));
  EXPECT_NE(first, labels(*batch(data, 1)));
}

// Over all orders of three examples each turns up equally often.
TEST(Dataset, ShuffleIsFair) {
  std::map<std::vector<int32_t>, int> count;
  const int draws = 6000;
  for (int epoch = 0; epoch < draws; ++epoch)
    ++count[labels(*batch(shuffle(numbers(3), Seed{7}, epoch), 1))];
  ASSERT_EQ(count.size(), 6u);
  // A binomial count of mean 1000 has standard deviation 28.9; five of them.
  for (const auto& [order, n] : count) EXPECT_NEAR(n, draws / 6, 145);
}

TEST(Dataset, TakeIsTheBeginning) {
  EXPECT_EQ(labels(*batch(take(numbers(5), 3), 1)), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(take(numbers(5), 9)->size(), 5);
  EXPECT_THROW(take(numbers(5), -1), InvalidArgument);
}

}  // namespace
}  // namespace rein
