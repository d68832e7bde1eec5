#include "rein/kernels/copy.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace rein::kernels {
namespace {

struct Case {
  std::string what;
  std::vector<CopyAxis> axes;
};

const Case kCases[] = {
    {"one number", {}},
    {"a run", {{7, 1, 1}}},
    {"a run of several tasks", {{50001, 1, 1}}},
    {"every other", {{7, 2, 1}}},
    {"to every other", {{7, 1, 2}}},
    {"one number everywhere", {{70001, 0, 1}}},
    {"rows into wider ones", {{5, 3, 8}, {3, 1, 1}}},
    {"one row everywhere", {{40, 0, 3}, {3, 1, 1}}},
    {"one column everywhere", {{40, 1, 5}, {5, 0, 1}}},
    {"transpose", {{5, 1, 3}, {3, 5, 1}}},
    {"transpose several squares", {{37, 1, 50}, {50, 37, 1}}},
    {"transpose several tasks", {{301, 1, 207}, {207, 301, 1}}},
    {"transpose planes", {{4, 60, 60}, {5, 1, 12}, {12, 5, 1}}},
    {"transpose around an axis", {{7, 1, 60}, {4, 35, 15}, {5, 7, 3}, {3, 140, 1}}},
    {"time and batch", {{4, 6, 30}, {5, 24, 6}, {6, 1, 1}}},
    {"reversed axes", {{2, 1, 60}, {3, 2, 20}, {4, 6, 5}, {5, 24, 1}}},
    {"axes of size 1", {{1, 99, 99}, {3, 2, 4}, {1, 50, 77}, {2, 1, 1}, {1, 3, 3}}},
    {"folds to one run", {{2, 12, 12}, {3, 4, 4}, {4, 1, 1}}},
    {"eight axes",
     {{2, 1, 128},
      {2, 2, 64},
      {2, 4, 32},
      {2, 8, 16},
      {2, 16, 8},
      {2, 32, 4},
      {2, 64, 2},
      {2, 128, 1}}},
    {"nothing", {{3, 4, 4}, {0, 1, 1}}},
};

int64_t reach(const std::vector<CopyAxis>& axes, int64_t CopyAxis::*step) {
  int64_t last = 0;
  for (const CopyAxis& a : axes) last += std::max<int64_t>(0, a.size - 1) * a.*step;
  return last + 1;
}

// The plain twin: one element at a time, by the formula.
template <class T>
void copy_one_by_one(std::span<const CopyAxis> axes, const T* from, T* to) {
  if (axes.empty()) {
    *to = *from;
    return;
  }
  for (int64_t i = 0; i < axes[0].size; ++i)
    copy_one_by_one(axes.subspan(1), from + i * axes[0].from, to + i * axes[0].to);
}

template <class T>
void compare(const Case& c, int threads) {
  ThreadTeam team(threads);
  std::vector<T> from(static_cast<size_t>(reach(c.axes, &CopyAxis::from)));
  std::iota(from.begin(), from.end(), T{1});
  // What is not named must stay as it is.
  std::vector<T> got(static_cast<size_t>(reach(c.axes, &CopyAxis::to)), T{-1}), want = got;
  copy_one_by_one<T>(c.axes, from.data(), want.data());
  strided_copy(c.axes, from.data(), got.data(), sizeof(T), team);
  EXPECT_EQ(got, want) << c.what;

  const T zero = 0;
  auto still = c.axes;
  for (CopyAxis& a : still) a.from = 0;
  copy_one_by_one<T>(still, &zero, want.data());
  strided_zero(c.axes, got.data(), sizeof(T), team);
  EXPECT_EQ(got, want) << c.what;
}

TEST(StridedCopy, AgreesWithItsTwin) {
  for (const Case& c : kCases)
    for (int threads : {1, 3}) {
      compare<int32_t>(c, threads);
      compare<int64_t>(c, threads);
    }
}

}  // namespace
}  // namespace rein::kernels
