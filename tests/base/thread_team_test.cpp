#include "rein/base/thread_team.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace rein {
namespace {

class Teams : public testing::TestWithParam<int> {};

TEST_P(Teams, EveryTaskRunsOnce) {
  ThreadTeam team(GetParam());
  for (int64_t n : {0, 1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(n));
    team.run(n, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    for (const auto& r : runs) EXPECT_EQ(r, 1);
  }
}

TEST_P(Teams, WhatTasksWroteIsSeenAfterwards) {
  ThreadTeam team(GetParam());
  std::vector<int64_t> results(257);
  for (int64_t round = 0; round < 2000; ++round) {
    team.run(257, [&](int64_t i) { results[static_cast<size_t>(i)] = round * i; });
    int64_t sum = 0;
    for (int64_t r : results) sum += r;
    ASSERT_EQ(sum, round * 256 * 257 / 2);
  }
}

TEST_P(Teams, TasksRoundAsTheirCallerDoes) {
  ThreadTeam team(GetParam());
  const unsigned before = _mm_getcsr();
  for (unsigned rounding : {_MM_ROUND_TOWARD_ZERO, _MM_ROUND_UP, _MM_ROUND_NEAREST}) {
    _MM_SET_ROUNDING_MODE(rounding);
    std::atomic<int> others = 0;
    team.run(1000, [&](int64_t) { others += _MM_GET_ROUNDING_MODE() != rounding; });
    _mm_setcsr(before);
    EXPECT_EQ(others, 0);
  }
}

TEST_P(Teams, RangesCoverEverythingOnce) {
  ThreadTeam team(GetParam());
  for (int64_t n : {0, 1, 9, 10, 11, 100}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(n));
    std::atomic<int> calls = 0;
    team.run_ranges(n, 10, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin % 10, 0);
      EXPECT_LE(end - begin, 10);
      ++calls;
      for (int64_t i = begin; i < end; ++i) ++runs[static_cast<size_t>(i)];
    });
    EXPECT_EQ(calls, (n + 9) / 10);
    for (const auto& r : runs) EXPECT_EQ(r, 1);
  }
}

TEST_P(Teams, ATaskMayUseItsOwnTeam) {
  ThreadTeam team(GetParam());
  std::atomic<int> inner = 0;
  team.run(8, [&](int64_t) { team.run(16, [&](int64_t) { ++inner; }); });
  EXPECT_EQ(inner, 8 * 16);
}

TEST_P(Teams, TwoCallersAtOnceBothGetTheirWorkDone) {
  ThreadTeam team(GetParam());
  auto caller = [&](std::atomic<int64_t>& sum) {
    for (int round = 0; round < 500; ++round) team.run(20, [&](int64_t i) { sum += i; });
  };
  std::atomic<int64_t> a = 0, b = 0;
  std::thread other([&] { caller(a); });
  caller(b);
  other.join();
  EXPECT_EQ(a, 500 * 190);
  EXPECT_EQ(b, 500 * 190);
}

TEST_P(Teams, SleepersWakeAgain) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> runs = 0;
    team.run(100, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs, 100);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than they spin
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Teams, testing::Values(1, 2, 3, 4));

TEST(ThreadTeam, UsesAsManyThreadsAsItSays) {
  ThreadTeam team(3);
  EXPECT_EQ(team.size(), 3);
  // Each task waits for the others: only three threads at once can end this.
  std::atomic<int> arrived = 0;
  std::mutex mutex;
  std::set<std::thread::id> who;
  team.run(3, [&](int64_t) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    who.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(who.size(), 3u);
  EXPECT_TRUE(who.contains(std::this_thread::get_id()));
}

TEST(ThreadTeam, AThreadBeginsWithTheSameTasks) {
  ThreadTeam team(3);
  std::vector<std::thread::id> first(6);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread::id> who(6);
    std::atomic<int> arrived = 0;
    team.run(6, [&](int64_t i) {
      who[static_cast<size_t>(i)] = std::this_thread::get_id();
      if (i % 2 > 0) return;
      ++arrived;  // of the two tasks that each has, the first waits until all have begun
      while (arrived < 3) std::this_thread::yield();
    });
    if (round == 0) first = who;
    for (size_t i = 0; i < 6; i += 2) EXPECT_EQ(who[i], first[i]) << i;
    EXPECT_EQ(who[0], std::this_thread::get_id());
  }
}

TEST(ThreadTeam, OneTaskStaysWithItsCaller) {
  ThreadTeam team(4);
  std::thread::id who;
  team.run(1, [&](int64_t) { who = std::this_thread::get_id(); });
  EXPECT_EQ(who, std::this_thread::get_id());
}

// The child has none of the team's threads: it used to wait for them for ever.
TEST(ThreadTeam, ARoundCallsNoMoreThreadsThanItHasTasks) {
  ThreadTeam team(8);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  for (int round = 0; round < 2000; ++round)
    team.run(2, [&](int64_t) {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
  EXPECT_LE(seen.size(), 2U);
}

TEST(ThreadTeam, AForkDoesItsWorkAlone) {
  std::atomic<int> sum{0};
  auto team = std::make_unique<ThreadTeam>(3);
  const auto add = [&](int64_t i) { sum += static_cast<int>(i); };
  team->run(10, add);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    team->run(10, add);
    team.reset();
    _exit(sum == 90 ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

TEST(ThreadTeam, ZeroMeansAllThatAreUsable) {
  EXPECT_EQ(ThreadTeam(0).size(), usable_threads());
  EXPECT_GE(usable_threads(), 1);
}

}  // namespace
}  // namespace rein
