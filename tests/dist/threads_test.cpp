// Ranks that are threads: sums, copies, and ranks that fail.
#include "rein/dist/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

// Numbers of a rank whose sum depends on the order.
template <class T>
std::vector<T> numbers_of(int rank, size_t n) {
  std::vector<T> x(n);
  for (size_t i = 0; i < n; ++i)
    x[i] = static_cast<T>(std::sin(static_cast<double>(i + 1) * (rank + 1)) * std::pow(10, rank));
  return x;
}

void wait_for_all(Communicator& ranks) {
  float none = 0;
  ranks.all_reduce(std::span(&none, 1));
}

template <class T>
class AllReduce : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(AllReduce, Types);

TYPED_TEST(AllReduce, AddsInTheOrderOfRanksForAllOfThem) {
  using T = TypeParam;
  for (const int size : {1, 2, 3, 5})
    for (const size_t n : {0u, 1u, 2u, 7u, 5000u}) {
      std::vector<T> want = numbers_of<T>(0, n);
      for (int rank = 1; rank < size; ++rank) {
        const auto more = numbers_of<T>(rank, n);
        for (size_t i = 0; i < n; ++i) want[i] += more[i];
      }
      std::vector<std::vector<T>> got(static_cast<size_t>(size));
      run_ranks(size, [&](Communicator& ranks) {
        EXPECT_EQ(ranks.size(), size);
        auto& x = got[static_cast<size_t>(ranks.rank())] = numbers_of<T>(ranks.rank(), n);
        ranks.all_reduce(std::span(x));
      });
      for (const auto& x : got) EXPECT_EQ(x, want) << size << " ranks, " << n << " numbers";
    }
}

TEST(RunRanks, BroadcastsFromAnyRank) {
  run_ranks(3, [](Communicator& ranks) {
    for (int root = 0; root < 3; ++root) {
      std::vector<int64_t> x(100, ranks.rank());
      ranks.broadcast(std::as_writable_bytes(std::span(x)), root);
      EXPECT_EQ(x, std::vector<int64_t>(100, root));
    }
  });
}

TEST(RunRanks, NobodyGoesOnBeforeAllAreThere) {
  std::atomic<int> before = 0;
  run_ranks(4, [&](Communicator& ranks) {
    for (int round = 1; round <= 50; ++round) {
      ++before;
      wait_for_all(ranks);
      EXPECT_GE(before, 4 * round);
      wait_for_all(ranks);
    }
  });
  EXPECT_EQ(before, 200);
}

TEST(RunRanks, AnErrorOfOneRankEndsAll) {
  std::atomic<int> told = 0;
  const auto run = [&] {
    run_ranks(3, [&](Communicator& ranks) {
      wait_for_all(ranks);
      if (ranks.rank() == 1) throw std::logic_error("my own");
      try {
        wait_for_all(ranks);
      } catch (const RankError&) {
        ++told;
        throw;
      }
    });
  };
  EXPECT_THROW(run(), std::logic_error);
  EXPECT_EQ(told, 2);
}

TEST(RunRanks, ARankThatReturnsTooEarlyIsAnError) {
  const auto run = [] {
    run_ranks(2, [](Communicator& ranks) {
      for (int i = 0; i < 3 + ranks.rank(); ++i) wait_for_all(ranks);
    });
  };
  EXPECT_THROW(run(), RankError);
}

TEST(RunRanks, DifferentCallsAreAnErrorOfAll) {
  std::atomic<int> told = 0;
  const auto run = [&] {
    run_ranks(2, [&](Communicator& ranks) {
      std::vector<float> x(ranks.rank() == 0 ? 3 : 4);
      try {
        ranks.all_reduce(std::span(x));
      } catch (const InvalidArgument&) {
        ++told;
        throw;
      }
    });
  };
  EXPECT_NE(error_of(run).find("rank 0 is in all_reduce of float32 of 3 numbers, "
                               "rank 1 in all_reduce of float32 of 4 numbers"),
            std::string::npos);
  EXPECT_EQ(told, 2);
}

TEST(RunRanks, NeedsARankAndARootThatIsThere) {
  EXPECT_NE(error_of([] { run_ranks(0, [](Communicator&) {}); }).find("size is 0"),
            std::string::npos);
  const auto run = [] { run_ranks(2, [](Communicator& ranks) { ranks.broadcast({}, 2); }); };
  EXPECT_NE(error_of(run).find("there is no rank 2 of 2"), std::string::npos);
}

TEST(SerialCommunicator, LeavesEverythingAsItIs) {
  Serial alone;
  std::vector<double> x{1, 2};
  alone.all_reduce(std::span(x));
  alone.broadcast(std::as_writable_bytes(std::span(x)), 0);
  EXPECT_EQ(x, std::vector<double>({1, 2}));
  EXPECT_EQ(alone.rank(), 0);
  EXPECT_EQ(alone.size(), 1);
}

}  // namespace
}  // namespace rein
