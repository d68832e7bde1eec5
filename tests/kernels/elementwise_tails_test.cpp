// Elementwise functions of every length around the width of vectors, against memory that cannot be
// touched: the same bits as in the middle of a long array, and nothing else written.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/elementwise_rows.h"
#include "kernels/guarded.h"

namespace rein::kernels {
namespace {

constexpr size_t kLong = 64, kLongest = 2 * 16 + 1;
constexpr Unary kLastUnary = Unary::softplus;
constexpr Binary kLastBinary = Binary::relu_grad;
constexpr Ternary kLastTernary = Ternary::where;

// Calls f for every member of an enumeration, up to the last.
template <class Enum, class F>
void for_each_function(Enum last, F&& f) {
  for (int i = 0; i <= static_cast<int>(last); ++i) f(static_cast<Enum>(i));
}

std::vector<float> draw(uint64_t stream) {
  const RandomStream random(Seed{5}, stream);
  std::vector<float> x(kLong);
  for (size_t i = 0; i < kLong; ++i) x[i] = static_cast<float>(2 * random.normal(i));
  return x;
}

template <Guard kSide>
class Tails {
 public:
  explicit Tails(size_t n) : n_(n), y_(n) {}

  void unaries() {
    const auto x = draw(1);
    const Guarded<float, kSide> guarded(std::span<const float>(x).first(n_));
    for_each_function(kLastUnary, [&](Unary f) {
      simd::unary(f, x.data(), want_.data(), kLong);
      simd::unary(f, guarded.data(), fresh(), static_cast<int64_t>(n_));
      compare("unary", static_cast<int>(f));
    });
  }
  // Bit k of `moves`: operand k moves along the row, or one number stands for all.
  void rows(int moves) {
    std::array<std::vector<float>, 3> x;
    std::array<Guarded<float, kSide>, 3> guarded;
    Rows<float> tail{.x = {}, .row = {}, .step = {}, .y = nullptr, .rows = 1, .n = 0}, whole = tail;
    for (size_t k = 0; k < 3; ++k) {
      x[k] = draw(k);
      tail.step[k] = moves >> k & 1;
      if (tail.step[k] == 0) std::ranges::fill(x[k], x[k][0]);
      guarded[k] =
          Guarded<float, kSide>(std::span<const float>(x[k]).first(tail.step[k] == 0 ? 1 : n_));
      tail.x[k] = guarded[k].data();
      whole.x[k] = x[k].data();
    }
    whole.step = {1, 1, 1};
    whole.y = want_.data();
    whole.n = kLong;
    tail.n = static_cast<int64_t>(n_);
    for_each_function(kLastTernary, [&](Ternary f) {
      simd::ternary(f, whole);
      tail.y = fresh();
      simd::ternary(f, tail);
      compare("ternary", static_cast<int>(f));
    });
    if ((moves & 3) == 0) return;
    for_each_function(kLastBinary, [&](Binary f) {
      simd::binary(f, whole);
      tail.y = fresh();
      simd::binary(f, tail);
      compare("binary", static_cast<int>(f));
    });
  }
  void random_flags() const {
    const RandomStream random(Seed{3}, 9);
    Guarded<uint32_t, kSide> flags(n_);
    simd::uniform_at_least(random, 0.4, 5, flags.data(), static_cast<int64_t>(n_));
    for (size_t i = 0; i < n_; ++i) ASSERT_EQ(flags[i], random.uniform(5 + i) >= 0.4) << i;
    ASSERT_TRUE(flags.intact());
  }

 private:
  float* fresh() {
    std::fill_n(y_.data(), n_, -777.0f);
    return y_.data();
  }
  void compare(const char* kind, int function) const {
    EXPECT_TRUE(n_ == 0 || std::memcmp(y_.data(), want_.data(), n_ * sizeof(float)) == 0)
        << kind << ' ' << function;
    EXPECT_TRUE(y_.intact()) << kind << ' ' << function;
  }

  size_t n_;
  Guarded<float, kSide> y_;
  std::vector<float> want_ = std::vector<float>(kLong);
};

template <Guard kSide>
void check(size_t n) {
  Tails<kSide> tails(n);
  tails.unaries();
  tails.random_flags();
  if (n == 0) return;  // no rows without elements are ever asked for
  for (int moves = 1; moves < 8; ++moves) tails.rows(moves);
}

TEST(ElementwiseTails, AreThoseOfALongArrayAndTouchNothingElse) {
  for_each_target([&](const char* target) {
    for (size_t n = 0; n <= kLongest && !testing::Test::HasFailure(); ++n) {
      SCOPED_TRACE(testing::Message() << target << ", " << n << " elements");
      check<Guard::end>(n);
      check<Guard::begin>(n);
    }
  });
}

}  // namespace
}  // namespace rein::kernels
