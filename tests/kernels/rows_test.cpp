#include "rein/kernels/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace rein::kernels {
namespace {

constexpr int64_t kFar = std::numeric_limits<int64_t>::max();

TEST(GatherRows, PicksRowsAndMarksIndicesOutside) {
  ThreadTeam team;
  const std::vector<float> from = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> indices = {2, 0, 3, -1, 2, kFar};
  std::vector<float> to(12);
  gather_rows(from.data(), 3, indices.data(), 6, 2, to.data(), team);
  EXPECT_EQ(std::vector<float>(to.begin(), to.begin() + 4), (std::vector<float>{5, 6, 1, 2}));
  for (size_t i : {4u, 5u, 6u, 7u, 10u, 11u}) EXPECT_TRUE(std::isnan(to[i])) << i;
  EXPECT_EQ(to[8], 5);
  const std::vector<int32_t> whole = {1, 2, 3};
  std::vector<int32_t> picked(6, -1);
  gather_rows(whole.data(), 3, indices.data(), 6, 1, picked.data(), team);
  EXPECT_EQ(picked, (std::vector<int32_t>{3, 1, 0, 0, 3, 0}));
}

TEST(ScatterAddRows, AddsInOrderAndPassesOverIndicesOutside) {
  ThreadTeam team;
  const std::vector<double> from = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const std::vector<int64_t> indices = {1, -1, 1, 0, 3};
  std::vector<double> to(6, 99);
  scatter_add_rows(from.data(), indices.data(), 5, 2, to.data(), 3, team);
  EXPECT_EQ(to, (std::vector<double>{7, 8, 6, 8, 0, 0}));
  // (1e8 + 1) - 1e8 is 0 in float32: the order of the additions shows.
  const std::vector<float> order = {1e8f, 1, -1e8f};
  const std::vector<int64_t> same = {0, 0, 0};
  float sum = 5;
  scatter_add_rows(order.data(), same.data(), 3, 1, &sum, 1, team);
  EXPECT_EQ(sum, 0);
}

TEST(OneHot, SetsOneElementARow) {
  ThreadTeam team;
  const std::vector<int64_t> indices = {1, 3, -1, 0};
  std::vector<int64_t> to(12, 9);
  one_hot(indices.data(), 4, 3, to.data(), team);
  EXPECT_EQ(to, (std::vector<int64_t>{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
}

TEST(Rows, ManyOnSeveralThreads) {
  constexpr int64_t kRows = 700, kPicked = 3000, kWidth = 37;
  std::vector<float> table(kRows * kWidth);
  std::iota(table.begin(), table.end(), 0.f);
  std::vector<int64_t> indices(kPicked);
  for (int64_t k = 0; k < kPicked; ++k) indices[static_cast<size_t>(k)] = k * k % kRows;
  for (int threads : {1, 3}) {
    ThreadTeam team(threads);
    std::vector<float> picked(kPicked * kWidth), hot(kPicked * kRows, 5);
    gather_rows(table.data(), kRows, indices.data(), kPicked, kWidth, picked.data(), team);
    one_hot(indices.data(), kPicked, kRows, hot.data(), team);
    std::vector<float> back(table.size()), want(table.size());
    scatter_add_rows(picked.data(), indices.data(), kPicked, kWidth, back.data(), kRows, team);
    for (int64_t k = 0; k < kPicked; ++k) {
      const int64_t row = indices[static_cast<size_t>(k)];
      for (int64_t i = 0; i < kWidth; ++i) {
        const auto at = static_cast<size_t>(row * kWidth + i);
        ASSERT_EQ(picked[static_cast<size_t>(k * kWidth + i)], table[at]);
        want[at] += table[at];
      }
      ASSERT_EQ(hot[static_cast<size_t>(k * kRows + row)], 1);
    }
    EXPECT_EQ(back, want);
    EXPECT_EQ(std::accumulate(hot.begin(), hot.end(), 0.0), kPicked);
  }
}

}  // namespace
}  // namespace rein::kernels
