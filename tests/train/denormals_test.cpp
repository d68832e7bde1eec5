// Inside steps, functions and tapes denormals are zero; outside, the caller's setting stays.
#include <gtest/gtest.h>
#include <time.h>
#include <xmmintrin.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "train/model.h"

namespace rein {
namespace {

constexpr unsigned kFlushes = 0x8040;  // to zero, and are zero

// Rounding, denormals and traps, without the flags of what has happened.
unsigned mode() { return _mm_getcsr() & ~0x3fu; }

// Whatever a test does to the setting, others do not see it.
class Denormals : public testing::Test {
 protected:
  ~Denormals() override { _mm_setcsr(before_); }
  const unsigned before_ = mode();
};

TEST_F(Denormals, AStepFlushesAndRestores) {
  SmallModel model;
  unsigned inside = 0;
  const auto look = [&](const Gradient& g, const std::string&) {
    inside = mode();
    return g;
  };
  Step train = record(model.cost(), model.vars, chain(look), Adam{}, {.threads = 2});
  for (unsigned setting : {before_, before_ | kFlushes, before_ ^ _MM_ROUND_TOWARD_ZERO}) {
    _mm_setcsr(setting);
    train(model.x, model.y, model.ids);
    EXPECT_EQ(mode(), setting);
    EXPECT_EQ(inside & kFlushes, kFlushes);
  }
}

TEST_F(Denormals, AStepThatThrowsRestores) {
  SmallModel model;
  const auto fail = [](const Gradient&, const std::string&) -> Gradient {
    throw std::runtime_error("no");
  };
  Step train = record(model.cost(), model.vars, chain(fail), Adam{}, {.threads = 2});
  EXPECT_THROW(train(model.x, model.y, model.ids), std::runtime_error);
  EXPECT_EQ(mode(), before_);
  EXPECT_THROW(train(model.x, model.y), Error);
  EXPECT_EQ(mode(), before_);
}

// An LSTM whose cell decays by a factor of 0.73 a step and sees nothing.
struct Decaying {
  static constexpr int64_t kSteps = 40, kBatch = 64, kUnits = 64;

  explicit Decaying(float cell) : c0({kBatch, kUnits}), x({kSteps, kBatch, 1}) {
    std::ranges::fill(c0.flat<float>(), cell);
  }
  auto states() const {
    return [this](Value in, Value c) {
      const Value h = in.graph().constant(Tensor({kBatch, kUnits}));
      return layer.sequence(in, {Values{c, h}}).outputs;
    };
  }
  Function function(int threads) const { return Function(states(), {.threads = threads}); }

  Variables vars{Seed{1}};
  BasicLSTMCell layer{vars, "rnn", 1, kUnits};
  Tensor c0, x;
};

size_t denormals(const Tensor& t) {
  const auto x = t.flat<float>();
  return static_cast<size_t>(
      std::ranges::count_if(x, [](float v) { return std::fpclassify(v) == FP_SUBNORMAL; }));
}

TEST_F(Denormals, ADecayedStateIsZero) {
  const Decaying tiny(1e-36f);
  for (int threads : {1, 2}) {
    Function states = tiny.function(threads);
    const Tensor h = states(tiny.x, tiny.c0);
    EXPECT_EQ(denormals(h), 0u);
    EXPECT_GT(h.flat<float>().front(), 0);
    EXPECT_EQ(h.flat<float>().back(), 0);
  }
  GradientTape tape;
  const Value h = tiny.states()(tape.input(tiny.x), tape.input(tiny.c0));
  EXPECT_EQ(denormals(h.tensor()), 0u);
  EXPECT_EQ(mode(), before_);
}

TEST_F(Denormals, AreZeroOnTheirWayIntoParameters) {
  Variables vars(Seed{1});
  const Variable w = add_variable(vars, "w", {3}, {0, 0, 0});
  const Tensor factors = tensor({3}, {1e-39, 1e-39, 1}, DType::float32);
  // Two gradients are denormal; the smallest normal number is 1.2e-38.
  Step train = record([&](Value f) { return reduce_sum(f * w); }, vars, chain(),
                      GradientDescent{.learning_rate = 1});
  train(factors);
  EXPECT_EQ(w.read().flat<float>()[0], 0);
  EXPECT_EQ(w.read().flat<float>()[2], -1);
}

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The fastest of some runs.
template <class F>
double seconds_of(F& f, const Tensor& x, const Tensor& c0) {
  double best = 1;
  for (int i = 0; i < 8; ++i) {
    const double start = thread_seconds();
    f(x, c0);
    best = std::min(best, thread_seconds() - start);
  }
  return best;
}

// What the second costs, over what the first does.
template <class F>
double cost(F& f, const Decaying& usual, const Decaying& tiny) {
  double ratio = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    ratio = seconds_of(f, usual.x, tiny.c0) / seconds_of(f, usual.x, usual.c0);
    if (ratio < 1.5) break;
  }
  return ratio;
}

// Where denormals are arithmetic they cost some processors several times as much.
TEST_F(Denormals, CostNoMoreThanOtherNumbers) {
  const Decaying usual(0.5f), tiny(1e-37f);
  Function states = usual.function(1);
  EXPECT_LT(cost(states, usual, tiny), 1.5);
}

TEST_F(Denormals, CostAStepNoMoreThanOtherNumbers) {
  Decaying usual(0.5f), tiny(1e-37f);
  const auto loss = [&](Value x, Value c) { return reduce_sum(usual.states()(x, c)); };
  Step train =
      record(loss, usual.vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{.learning_rate = 0});
  const double ratio = cost(train, usual, tiny);
  EXPECT_LT(ratio, 1.5);
  RecordProperty("ratio", std::to_string(ratio));
}

}  // namespace
}  // namespace rein
