// The LSTM of every width and every batch, each array against memory that cannot be touched.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/each_target.h"
#include "kernels/guarded_problem.h"

namespace rein::kernels {
namespace {

#ifdef REIN_SANITIZED
// Of the sizes: sanitizers are slow, and see what one size does wrong.
constexpr int64_t kStride = 9;
#else
constexpr int64_t kStride = 1;
#endif

template <Guard kSide>
void expect_in_rows(const LstmSizes& s, const float* dz, int64_t size, ThreadTeam& team) {
  Guarded<float, kSide> rows(static_cast<size_t>(s.steps * s.batch * 4 * s.units));
  lstm_rows(team, s, dz, rows.data());
  EXPECT_TRUE(rows.intact());
  int64_t wrong = 0, found = 0;
  for (int64_t i = 0; i < size; ++i) {
    const LstmPlace at = lstm_place<float>(s, i);
    if (at.unit >= s.units) continue;
    const float* row = rows.data() + (at.step * s.batch + at.row) * 4 * s.units;
    wrong += row[at.gate * s.units + at.unit] != dz[i];
    ++found;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(found, s.steps * s.batch * 4 * s.units);
}

// What the backward pass gives in place of the gates must be what it gives apart from them.
template <Guard kSide>
void run_guarded(GuardedProblem<kSide>& p, ThreadTeam& team, bool in_place) {
  const LstmMemory memory = lstm_memory<float>(p.s);
  run_within(
      p, memory, in_place,
      [&](const LstmForward<float>& f, std::byte* scratch) { lstm_forward(team, p.s, f, scratch); },
      [&](const LstmBackward<float>& b, std::byte* scratch) {
        lstm_backward(team, p.s, b, scratch);
      });
  expect_in_rows<kSide>(p.s, in_place ? p.gates.data() : p.dz.data(), memory.gates, team);
}

class Checker {
 public:
  void operator()(const LstmSizes& s) {
    SCOPED_TRACE(testing::PrintToString(s));
    Problem<double> plain(s);
    run(plain, plain.backward());
    GuardedProblem<Guard::end> end(s);
    run_guarded(end, one_, false);
    expect_same(end, plain);
    // The other guard on a team, in place: the same bits.
    GuardedProblem<Guard::begin> begin(s);
    run_guarded(begin, two_, true);
    for (size_t i = 0; i < end.results().size(); ++i) {
      const auto [name, a] = end.results()[i];
      const auto& b = *begin.results()[i].second;
      EXPECT_TRUE(a->empty() || std::memcmp(a->data(), b.data(), b.size() * sizeof(float)) == 0)
          << name;
    }
  }

 private:
  ThreadTeam one_{1}, two_{2};
};

// Every number of units and of inputs from 1 to 130 and every batch from 1 to 70 occurs.
LstmSizes mixed(int64_t i) {
  return {.steps = 1 + i % 2, .batch = 1 + i * 29 % 70, .inputs = i * 37 % 131, .units = i};
}

TEST(LstmOfEverySize, AgreesWithThePlainTwinInDouble) {
  Checker check;
  for (int64_t i = 1; i <= 130 && !testing::Test::HasFailure(); i += kStride) check(mixed(i));
}

TEST(LstmOfEverySize, FewRowsAndNarrowLayers) {
  Checker check;
  for (int64_t units = 1; units <= 40; units += kStride)
    for (int64_t batch = 1; batch <= 6 && !testing::Test::HasFailure(); batch += kStride)
      check({.steps = 3, .batch = batch, .inputs = 1 + (units + batch) % 5, .units = units});
}

// Where x is multiplied ahead, where threads share units though there are rows enough, and where
// weights' gradients are summed in three pieces.
TEST(LstmOfEverySize, WeightsBeyondTheSecondLevelCache) {
  Checker check;
  check({.steps = 2, .batch = 3, .inputs = 300, .units = 230});
  check({.steps = 1, .batch = 50, .inputs = 300, .units = 230});
  check({.steps = 2, .batch = 25, .inputs = 3, .units = 300});
  check({.steps = 30, .batch = 50, .inputs = 400, .units = 20});
}

TEST(LstmOfEverySize, OnEveryTarget) {
  for_each_target([](const char* target) {
    SCOPED_TRACE(target);
    Checker check;
    for (int64_t i = 1; i <= 36 && !testing::Test::HasFailure(); i += kStride) check(mixed(i));
  });
}

}  // namespace
}  // namespace rein::kernels
