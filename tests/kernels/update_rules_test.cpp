// Steps of rules against their plain twins: every length up to some vectors, NaN and infinities
// among the numbers, what lies behind the arrays, and equal bits wherever an element stands.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <span>

#include "kernels/each_target.h"
#include "kernels/guarded.h"
#include "kernels/special_numbers.h"
#include "rein/kernels/update.h"

namespace rein::kernels {
namespace {

constexpr size_t kLongest = 70;  // more than four vectors of AVX-512

using Arrays = std::vector<std::vector<float>>;
using Pointers = std::vector<float*>;
using Kernel = std::function<void(const Pointers& x, size_t n)>;

struct Step {
  const char* name;
  size_t arrays;
  Kernel fast, plain;
  // The vector code fuses multiplications with additions, the twin rounds between: a few ulp of the
  // larger term, of order 1 here. Without such sums the bits are equal.
  double tolerance = 4e-7;
};

constexpr AdamNumbers kAdam{.beta1 = 0.9,
                            .beta2 = 0.999,
                            .new1 = 0.1,
                            .new2 = 0.001,
                            .rate = 0.01,
                            .root_factor = 1.5,
                            .epsilon = 1e-8};
constexpr LionNumbers kLion{.beta1 = 0.9, .new1 = 0.1, .beta2 = 0.99, .new2 = 0.01, .rate = 0.02};
constexpr RpropNumbers kRprop{.decrease = 0.5, .increase = 1.2, .min_step = 0.3, .max_step = 1.5};
constexpr FtrlNumbers kFtrl{.rate = 0.5, .l1 = 0.4, .fixed = 0.7, .shrinkage = 0.1};
constexpr FtrlNumbers kRestingFtrl{.rate = 0.5, .l1 = 0.4, .fixed = 0, .shrinkage = 0};
constexpr AdamaxNumbers kAdamax{
    .beta1 = 0.9, .new1 = 0.1, .beta2 = 0.99, .rate = 0.5, .added = 1e-3, .epsilon = 1e-2};
constexpr NadamNumbers kNadam{.beta1 = 0.9,
                              .new1 = 0.1,
                              .beta2 = 0.999,
                              .new2 = 0.001,
                              .of_m = 0.3,
                              .of_d = 0.2,
                              .root_factor = 1.5,
                              .epsilon = 1e-8};
constexpr RmsNumbers kRms{.rho = 0.9, .rate = 0.5, .in_root = 1e-3, .epsilon = 1e-2};
constexpr AdagradNumbers kAdagrad{.rate = 0.5, .in_root = 0, .epsilon = 1e-2, .rests_at_0 = false};
constexpr AdagradNumbers kRestingAdagrad{
    .rate = 0.5, .in_root = 0, .epsilon = 0, .rests_at_0 = true};
constexpr AdadeltaNumbers kAdadelta{.rho = 0.9, .rate = 0.5, .epsilon = 1e-3};
constexpr ScheduleFreeNumbers kScheduleFree{.beta2 = 0.999,
                                            .new2 = 0.001,
                                            .root_factor = 1.5,
                                            .epsilon = 1e-8,
                                            .decay = 0.1,
                                            .share = 0.2,
                                            .z_rate = 0.3,
                                            .y_rate = 0.1};

constexpr float f32(double x) { return static_cast<float>(x); }

// A plain step from what it makes of the numbers of one place.
template <size_t... kArrays, class F>
Kernel one_by_one(F f) {
  return [f](const Pointers& x, size_t n) {
    for (size_t i = 0; i < n; ++i) f(x[kArrays][i]...);
  };
}

// Steps that are one text for all instruction sets; their twins stand here.
std::vector<Step> loops() {
  return {
      {"adamax", 3, [](const Pointers& x, size_t n) { adamax(x[0], x[1], x[2], kAdamax, n); },
       one_by_one<0, 1, 2>([](float& d, float& m, float& u) {
         m = f32(0.9) * m + f32(0.1) * d;
         const float decayed = f32(0.99) * u, fresh = std::abs(d) + f32(1e-3);
         u = decayed < fresh ? fresh : decayed;  // the decayed where either is NaN
         d = -0.5f * m / (u + f32(1e-2));
       })},
      {"nadam", 3, [](const Pointers& x, size_t n) { nadam(x[0], x[1], x[2], kNadam, n); },
       one_by_one<0, 1, 2>([](float& d, float& m, float& v) {
         m = f32(0.9) * m + f32(0.1) * d;
         v = f32(0.999) * v + f32(0.001) * (d * d);
         d = (f32(-0.3) * m + f32(-0.2) * d) / (std::sqrt(v) * 1.5f + f32(1e-8));
       })},
      {"rmsprop", 2, [](const Pointers& x, size_t n) { rmsprop(x[0], x[1], kRms, n); },
       one_by_one<0, 1>([](float& d, float& s) {
         s = f32(0.9) * s + f32(0.1) * (d * d);
         d = -0.5f * (d / (std::sqrt(s + f32(1e-3)) + f32(1e-2)));
       })},
      {"centered rmsprop", 3,
       [](const Pointers& x, size_t n) { centered_rmsprop(x[0], x[1], x[2], kRms, n); },
       one_by_one<0, 1, 2>([](float& d, float& s, float& mean) {
         s = f32(0.9) * s + f32(0.1) * (d * d);
         mean = f32(0.9) * mean + f32(0.1) * d;
         d = -0.5f * (d / (std::sqrt(s - mean * mean + f32(1e-3)) + f32(1e-2)));
       })},
      {"adagrad", 2, [](const Pointers& x, size_t n) { adagrad(x[0], x[1], kAdagrad, n); },
       one_by_one<0, 1>([](float& d, float& s) {
         s += d * d;
         d = -0.5f * d / (std::sqrt(s) + f32(1e-2));
       })},
      {"adagrad that rests at 0", 2,
       [](const Pointers& x, size_t n) { adagrad(x[0], x[1], kRestingAdagrad, n); },
       one_by_one<0, 1>([](float& d, float& s) {
         s += d * d;
         d = s == 0 ? 0 : -0.5f * d / std::sqrt(s);
       })},
      {"adadelta", 3, [](const Pointers& x, size_t n) { adadelta(x[0], x[1], x[2], kAdadelta, n); },
       one_by_one<0, 1, 2>([](float& d, float& s, float& step) {
         const float rho = f32(0.9), fresh = f32(0.1), epsilon = f32(1e-3);
         s = rho * s + fresh * (d * d);
         const float u = std::sqrt(step + epsilon) / std::sqrt(s + epsilon) * d;
         step = rho * step + fresh * (u * u);
         d = f32(-0.5) * u;
       })},
      {"schedule free", 4,
       [](const Pointers& x, size_t n) { schedule_free(x[0], x[1], x[2], x[3], kScheduleFree, n); },
       one_by_one<0, 1, 2, 3>([](float& d, float& z, float& v, float y) {
         v = f32(0.999) * v + f32(0.001) * (d * d);
         const float u = d / (std::sqrt(v) * 1.5f + f32(1e-8)) + f32(0.1) * y;
         d = f32(0.2) * (z - y) - f32(0.1) * u;
         z = z - f32(0.3) * u;
       })},
  };
}

// The update in one pass against its parts.
Step adam_in_one(const char* name, double factor) {
  return {
      name, 4,
      [=](const Pointers& x, size_t n) { adam_update(x[0], factor, x[3], x[1], x[2], kAdam, n); },
      [=](const Pointers& x, size_t n) {
        std::vector<float> d(n + 1);
        scale_into(x[0], factor, d.data(), n);
        adam(d.data(), x[1], x[2], kAdam, n);
        add_into(x[3], d.data(), n);
      },
      0};
}

std::vector<Step> steps() {
  std::vector<Step> all = loops();
  const std::vector<Step> vectors = {
      adam_in_one("adam in one", 0.37),
      adam_in_one("adam in one, a factor that is no normal float", 1e-41),
      adam_in_one("adam in one, a factor above all floats", 1e40),
      {"combine", 3, [](const Pointers& x, size_t n) { combine(0.3, x[0], -1.7, x[1], x[2], n); },
       [](const Pointers& x, size_t n) { ref::combine(0.3, x[0], -1.7, x[1], x[2], n); }},
      {"combine in place", 2,
       [](const Pointers& x, size_t n) { combine(1, x[0], -1.7, x[1], x[0], n); },
       [](const Pointers& x, size_t n) { ref::combine(1, x[0], -1.7, x[1], x[0], n); }},
      {"adam", 3, [](const Pointers& x, size_t n) { adam(x[0], x[1], x[2], kAdam, n); },
       [](const Pointers& x, size_t n) { ref::adam(x[0], x[1], x[2], kAdam, n); }},
      {"amsgrad", 4,
       [](const Pointers& x, size_t n) { amsgrad(x[0], x[1], x[2], x[3], kAdam, 1.25, n); },
       [](const Pointers& x, size_t n) { ref::amsgrad(x[0], x[1], x[2], x[3], kAdam, 1.25, n); }},
      {"lion", 2, [](const Pointers& x, size_t n) { lion(x[0], x[1], kLion, n); },
       [](const Pointers& x, size_t n) { ref::lion(x[0], x[1], kLion, n); }},
      {"rprop", 3, [](const Pointers& x, size_t n) { rprop(x[0], x[1], x[2], kRprop, n); },
       [](const Pointers& x, size_t n) { ref::rprop(x[0], x[1], x[2], kRprop, n); }, 0},
      {"ftrl", 4, [](const Pointers& x, size_t n) { ftrl(x[0], x[1], x[2], x[3], kFtrl, n); },
       [](const Pointers& x, size_t n) { ref::ftrl(x[0], x[1], x[2], x[3], kFtrl, n); }},
      {"ftrl that rests at 0", 4,
       [](const Pointers& x, size_t n) { ftrl(x[0], x[1], x[2], x[3], kRestingFtrl, n); },
       [](const Pointers& x, size_t n) { ref::ftrl(x[0], x[1], x[2], x[3], kRestingFtrl, n); }},
  };
  all.insert(all.end(), vectors.begin(), vectors.end());
  return all;
}

// Squares and steps are not negative: from the second array on, but for the means that come first.
Arrays arrays_of(const Step& step, size_t n) {
  Arrays x;
  for (size_t k = 0; k < step.arrays; ++k) x.push_back(numbers(n, k + 1));
  const std::string_view name = step.name;
  const auto positive = [&](size_t k) {
    for (size_t i = 0; i < n; ++i) x[k][i] = std::abs(x[k][i]);
  };
  if (name.starts_with("ftrl") || name == "adadelta") positive(1);
  if (name.ends_with("rmsprop") || name.starts_with("adagrad")) positive(1);
  for (const std::string_view prefix :
       {"adam", "adadelta", "nadam", "rprop", "amsgrad", "schedule"})
    if (name.starts_with(prefix)) positive(2);
  if (name == "amsgrad") positive(3);
  if (name.ends_with("rests at 0"))
    for (size_t i = 0; i < n; i += 2) x[0][i] = x[1][i] = 0;
  return x;
}

Pointers pointers_to(Arrays& x, size_t at = 0) {
  Pointers pointers;
  for (std::vector<float>& array : x) pointers.push_back(array.data() + at);
  return pointers;
}

template <class Array>
void expect_near(const Array& got, std::span<const float> want, double tolerance) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i]))
      EXPECT_TRUE(std::isnan(got[i])) << i << ": " << got[i];
    else if (std::isinf(want[i]) || tolerance == 0)
      EXPECT_EQ(got[i], want[i]) << i;
    else
      EXPECT_NEAR(got[i], want[i], tolerance * std::max(1.0f, std::abs(want[i]))) << i;
  }
}

// Fast beside memory that cannot be touched, plain in the open.
template <Guard kSide>
void compare(const Step& step, size_t n) {
  Arrays plain = arrays_of(step, n);
  std::vector<Guarded<float, kSide>> fast;
  Pointers pointers;
  for (const std::vector<float>& array : plain) {
    fast.emplace_back(std::span(array).first(n));
    pointers.push_back(fast.back().data());
  }
  step.fast(pointers, n);
  step.plain(pointers_to(plain), n);
  for (size_t k = 0; k < step.arrays; ++k) {
    expect_near(fast[k], std::span(plain[k]).first(n), step.tolerance);
    EXPECT_TRUE(fast[k].intact()) << k;
  }
}

TEST(RuleSteps, AgreeWithTheirPlainTwins) {
  for_each_target([](const char* target) {
    for (const Step& step : steps())
      for (size_t n = 0; n <= kLongest; ++n) {
        SCOPED_TRACE(testing::Message() << target << ", " << step.name << ", n " << n);
        compare<Guard::end>(step, n);
        compare<Guard::begin>(step, n);
      }
  });
}

TEST(RuleSteps, AnElementsBitsDoNotDependOnItsPlace) {
  for_each_target([](const char* target) {
    for (const Step& step : steps()) {
      SCOPED_TRACE(testing::Message() << target << ", " << step.name);
      constexpr size_t n = 67;
      Arrays whole = arrays_of(step, n), single = whole;
      step.fast(pointers_to(whole), n);
      for (size_t i = 0; i < n; ++i) step.fast(pointers_to(single, i), 1);
      for (size_t k = 0; k < step.arrays; ++k) expect_same_bits(whole[k], single[k], n);
    }
  });
}

TEST(RuleSteps, LoopsGiveTheSameBitsOnAllInstructionSets) {
  constexpr size_t n = 67;
  for (const Step& step : loops()) {
    std::vector<Arrays> results;
    for_each_target([&](const char*) {
      results.push_back(arrays_of(step, n));
      step.fast(pointers_to(results.back()), n);
    });
    for (const Arrays& result : results)
      for (size_t k = 0; k < step.arrays; ++k) {
        SCOPED_TRACE(step.name);
        expect_same_bits(result[k], results[0][k], n);
      }
  }
}

TEST(RuleSteps, DoublesFollowTheFormulas) {
  double d = 0.5, m = 0.2, v = 0.04, largest = 0.06;
  adam(&d, &m, &v, kAdam, 1);
  const double mean = 0.9 * 0.2 + 0.1 * 0.5, variance = 0.999 * 0.04 + 0.001 * 0.25;
  EXPECT_DOUBLE_EQ(m, mean);
  EXPECT_DOUBLE_EQ(v, variance);
  EXPECT_DOUBLE_EQ(d, -0.01 * mean / (1.5 * std::sqrt(variance) + 1e-8));

  d = 0.5, m = 0.2, v = 0.04;
  amsgrad(&d, &m, &v, &largest, kAdam, 1.25, 1);
  EXPECT_DOUBLE_EQ(largest, 0.06);
  EXPECT_DOUBLE_EQ(d, -0.01 * mean / (1.5 * std::sqrt(0.06) + 1e-8));
  d = 0.5, m = 0.2, v = 0.04;
  amsgrad(&d, &m, &v, &largest, kAdam, 2, 1);
  EXPECT_DOUBLE_EQ(largest, 2 * variance);

  const double signs[] = {2, -2, 0, std::nan("")}, steps[] = {-0.02, 0.02, 0};
  for (size_t i = 0; i < 4; ++i) {
    d = signs[i], m = 0;
    lion(&d, &m, kLion, 1);
    if (i < 3)
      EXPECT_EQ(d, steps[i]);
    else
      EXPECT_TRUE(std::isnan(d));
  }

  // Grows, up to its most; shrinks, and waits.
  double previous = 0.1, step = 1;
  d = 0.2;
  rprop(&d, &previous, &step, kRprop, 1);
  EXPECT_DOUBLE_EQ(step, 1.2);
  EXPECT_DOUBLE_EQ(d, -1.2);
  d = 0.2;
  rprop(&d, &previous, &step, kRprop, 1);
  EXPECT_DOUBLE_EQ(d, -1.2 * 1.2);
  d = 0.2;
  rprop(&d, &previous, &step, kRprop, 1);
  EXPECT_DOUBLE_EQ(d, -1.5);
  d = -0.2;
  rprop(&d, &previous, &step, kRprop, 1);
  EXPECT_DOUBLE_EQ(step, 0.75);
  EXPECT_EQ(d, 0);
  EXPECT_EQ(previous, 0);

  double u = 0.3;
  d = 0.5, m = 0.2;
  adamax(&d, &m, &u, kAdamax, 1);  // |d| is the larger
  EXPECT_DOUBLE_EQ(m, mean);
  EXPECT_DOUBLE_EQ(u, 0.501);
  EXPECT_DOUBLE_EQ(d, -0.5 * mean / 0.511);
  d = 0.1;
  adamax(&d, &m, &u, kAdamax, 1);
  EXPECT_DOUBLE_EQ(u, 0.99 * 0.501);

  d = 0.5, m = 0.2, v = 0.04;
  nadam(&d, &m, &v, kNadam, 1);
  EXPECT_DOUBLE_EQ(m, mean);
  EXPECT_DOUBLE_EQ(v, variance);
  EXPECT_DOUBLE_EQ(d, -(0.3 * mean + 0.2 * 0.5) / (1.5 * std::sqrt(variance) + 1e-8));

  const double next_square = 0.9 * 0.04 + 0.1 * 0.25;
  double square = 0.04;
  d = 0.5;
  rmsprop(&d, &square, kRms, 1);
  EXPECT_DOUBLE_EQ(square, next_square);
  EXPECT_DOUBLE_EQ(d, -0.5 * 0.5 / (std::sqrt(next_square + 1e-3) + 1e-2));

  d = 0.5, square = 0.04, m = 0.2;
  centered_rmsprop(&d, &square, &m, kRms, 1);
  EXPECT_DOUBLE_EQ(m, mean);
  EXPECT_DOUBLE_EQ(d, -0.5 * 0.5 / (std::sqrt(next_square - mean * mean + 1e-3) + 1e-2));

  d = 0.5, square = 0.11;
  adagrad(&d, &square, kAdagrad, 1);
  EXPECT_DOUBLE_EQ(square, 0.36);
  EXPECT_DOUBLE_EQ(d, -0.5 * 0.5 / 0.61);
  d = 0, square = 0;
  adagrad(&d, &square, kRestingAdagrad, 1);
  EXPECT_EQ(d, 0);

  d = 0.5, square = 0.04, step = 0.09;
  adadelta(&d, &square, &step, kAdadelta, 1);
  const double moved = std::sqrt(0.091 / (next_square + 1e-3)) * 0.5;
  EXPECT_DOUBLE_EQ(square, next_square);
  EXPECT_DOUBLE_EQ(step, 0.9 * 0.09 + 0.1 * moved * moved);
  EXPECT_DOUBLE_EQ(d, -0.5 * moved);

  double z = 0.8, y = 0.6;
  d = 0.5, v = 0.04;
  schedule_free(&d, &z, &v, &y, kScheduleFree, 1);
  const double adam_and_decay = 0.5 / (1.5 * std::sqrt(variance) + 1e-8) + 0.1 * 0.6;
  EXPECT_DOUBLE_EQ(v, variance);
  EXPECT_DOUBLE_EQ(d, 0.2 * (0.8 - 0.6) - 0.1 * adam_and_decay);
  EXPECT_DOUBLE_EQ(z, 0.8 - 0.3 * adam_and_decay);

  // n = 0.25 becomes 0.5, and z ends beyond l1.
  double n = 0.25, w = 0.5;
  d = 0.5, z = 1;
  ftrl(&d, &n, &z, &w, kFtrl, 1);
  const double root = std::sqrt(0.5), next = 1 + 0.5 + 0.1 * 0.5 - (root - 0.5) / 0.5 * 0.5;
  EXPECT_DOUBLE_EQ(z, next);
  EXPECT_DOUBLE_EQ(w + d, (0.4 - next) / (root / 0.5 + 0.7));
  d = -z, z = 0;  // little is left: the weight becomes 0
  ftrl(&d, &n, &z, &w, {.rate = 0.5, .l1 = 10, .fixed = 0, .shrinkage = 0}, 1);
  EXPECT_EQ(w + d, 0);
}

}  // namespace
}  // namespace rein::kernels
