// Arrays of several parts: what is shared among threads, against sums taken one by one.
#include "process/slices.h"

#include <gtest/gtest.h>

#include <map>

#include "process/steps.h"
#include "rein/process/clip_by_norm.h"
#include "rein/process/units.h"

namespace rein {
namespace {

struct Case {
  Shape shape;
  std::vector<int> axes;
  size_t parts;
};
// Reduced outside, kept outside, one slice, and slices that come back.
const std::vector<Case> kCases{{{70, 3000}, {0}, 2},        {{900, 200}, {1}, 3},
                               {{70000, 3}, {0}, 4},        {{200000}, {0}, 4},
                               {{40, 50, 60}, {0, 2}, 2},   {{40, 50, 60}, {1}, 2},
                               {{2, 40, 50, 40}, {1, 3}, 2}};

// The slice of each element, counted by its indices along the axes that stay.
std::vector<size_t> slices_of(const Case& c) {
  std::vector<size_t> of;
  for (int64_t element = 0; element < c.shape.size(); ++element) {
    int64_t rest = element, below = c.shape.size(), slice = 0;
    for (int a = 0; a < c.shape.rank(); ++a) {
      below /= c.shape[a];
      if (std::ranges::find(c.axes, a) == c.axes.end()) slice = slice * c.shape[a] + rest / below;
      rest %= below;
    }
    of.push_back(static_cast<size_t>(slice));
  }
  return of;
}

std::map<size_t, double> norms_of(const std::vector<double>& x, const std::vector<size_t>& slices) {
  std::map<size_t, long double> sums;
  for (size_t i = 0; i < x.size(); ++i)
    sums[slices[i]] += static_cast<long double>(x[i]) * static_cast<long double>(x[i]);
  std::map<size_t, double> norms;
  for (const auto& [slice, sum] : sums) norms[slice] = static_cast<double>(std::sqrt(sum));
  return norms;
}

TEST(Slicing, PartsAreTheArrayInItsOrder) {
  for (const Case& c : kCases) {
    const Slicing slicing(c.shape, c.axes, "test");
    EXPECT_EQ(slicing.parts(), c.parts) << to_string(c.shape);
    const std::vector<size_t> want = slices_of(c);
    std::vector<size_t> got;
    for (size_t k = 0; k < slicing.parts(); ++k) {
      const Slicing::Part part = slicing.part(k);
      EXPECT_EQ(part.element, got.size());
      EXPECT_LE(part.number + part.slicing.count(), slicing.room());
      part.slicing.for_each_run([&](size_t slice, size_t, size_t n, size_t step) {
        for (size_t j = 0; j < n; ++j) got.push_back(part.slice + slice + j * step);
      });
      EXPECT_EQ(part.element + part.elements, got.size());
    }
    EXPECT_EQ(got, want) << to_string(c.shape);
  }
}

// Each number times the factor of its slice, within a rounding of float: the factors' own error is
// that of sums in double.
void expect_each(const std::vector<double>& got, const std::vector<double>& x,
                 const std::vector<size_t>& slices, const std::map<size_t, double>& factors) {
  ASSERT_EQ(got.size(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = x[i] * factors.at(slices[i]);
    ASSERT_NEAR(got[i], want, 1.2e-7 * std::abs(want)) << i;
  }
}

// A variable of one part beside those of several.
const Shape kSmall{3, 2};
const std::vector<double> kSmallNumbers{3, 4, 0.3, 0.4, 1, 1};

TEST(ClipByNorm, OverAxesOfSeveralPartsIsEachSlicesOwn) {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const Case& c : kCases) {
      const std::vector<double> x = noise(static_cast<size_t>(c.shape.size()));
      const Gradient g = tensor(c.shape, x, dtype);
      const auto slices = slices_of(c);
      auto factors = norms_of(numbers(g), slices);
      const double limit = factors.begin()->second;  // about half of them are longer
      for (auto& [slice, factor] : factors) factor = std::min(1.0, limit / factor);
      const Gradient clipped = clip_by_norm(g, limit, {.axes = c.axes});
      expect_each(numbers(clipped), numbers(g), slices, factors);
      for (int threads = 1; threads <= 3; ++threads) {
        ThreadTeam team(threads);
        Steps steps(ClipByNorm{.clip_norm = limit, .axes = c.axes}, {c.shape, kSmall}, dtype);
        const auto got =
            steps.step(std::vector<Gradient>{g, tensor(kSmall, kSmallNumbers, dtype)}, &team);
        EXPECT_EQ(numbers(got[0]), numbers(clipped)) << to_string(c.shape) << threads;
        const double after = norm_of(Lists{numbers(got[0]), numbers(got[1])});
        EXPECT_NEAR(steps.info.clipped_norm, after, 1e-7 * after);
      }
    }
}

TEST(ClipByNorm, PartsOfAnySizeJoin) {
  // Squares of doubles that overflow, and that vanish.
  for (const double size : {1e200, 1e-200, 1e300}) {
    std::vector<double> x(200000, 0.0);
    x.front() = 3 * size, x.back() = 4 * size;
    const auto out =
        numbers(clip_by_norm(tensor({200000}, x, DType::float64), size, {.axes = {0}}));
    EXPECT_NEAR(out.front(), 0.6 * size, 1e-15 * size);
    EXPECT_NEAR(out.back(), 0.8 * size, 1e-15 * size);
  }
}

TEST(ClipByNorm, ASliceThatIsNotFiniteInOnePartIsLeftAlone) {
  std::vector<double> x(200000 * 2, 1.0);
  x[399998] = std::numeric_limits<double>::quiet_NaN();
  const auto out = numbers(clip_by_norm(tensor({200000, 2}, x), 1, {.axes = {0}}));
  EXPECT_EQ(out[0], 1);
  EXPECT_NEAR(out[1], 1 / std::sqrt(200000), 1e-9);
}

TEST(AdaptiveGradClip, UnitsOfSeveralPartsMeetTheirParameters) {
  for (const Case& c : {kCases[0], kCases[2], kCases[3]}) {
    const auto n = static_cast<size_t>(c.shape.size());
    const Tensor g = tensor(c.shape, noise(n)), w = tensor(c.shape, noise(n, 1));
    const auto slices = slices_of(c);
    auto factors = norms_of(numbers(g), slices), limits = norms_of(numbers(w), slices);
    for (auto& [slice, factor] : factors) factor = std::min(1.0, 0.99 * limits[slice] / factor);
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadTeam team(threads);
      Steps steps(AdaptiveGradClip{.clipping = 0.99}, {kSmall, c.shape}, DType::float32);
      steps.variables().assign(steps.variables()[1], w);
      const auto got = steps.step(std::vector<Gradient>{Gradient(), g}, &team);
      expect_each(numbers(got[1]), numbers(g), slices, factors);
      const Gradient alone[] = {g};
      const Tensor parameters[] = {w};
      EXPECT_EQ(numbers(got[1]), numbers(adaptive_grad_clip(alone, parameters, 0.99)[0]));
    }
  }
}

TEST(AdaptiveGradClip, FewRowsMeetParametersOfSeveralParts) {
  const Tensor w = tensor({40000, 4}, noise(160000, 1));
  const Gradient g = rows({39999, 7}, {40000, 4}, {9, 9, 9, 9, 8, 8, 8, 8});
  for (const int axis : {0, 1}) {
    ThreadTeam team(2);
    Steps steps(AdaptiveGradClip{.clipping = 0.01, .axis = axis}, {{40000, 4}}, DType::float32);
    steps.variables().assign(steps.variables()[0], w);
    const auto sparse = steps.step(std::vector<Gradient>{g}, &team);
    const auto dense = steps.step(std::vector<Gradient>{to_dense(g.sparse())}, &team);
    const auto got = numbers(Gradient(to_dense(sparse[0].sparse()))), want = numbers(dense[0]);
    EXPECT_NE(got, numbers(Gradient(to_dense(g.sparse()))));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1.2e-7 * std::abs(want[i])) << i;
  }
}

TEST(Centralize, MeansOfSeveralParts) {
  int tried = 0;
  for (const Case& c : kCases) {
    const int rank = c.shape.rank();
    if (rank < 2 || static_cast<int>(c.axes.size()) != rank - 1) continue;
    ++tried;
    int stays = 0;
    while (std::ranges::find(c.axes, stays) != c.axes.end()) ++stays;
    const Gradient g = tensor(c.shape, noise(static_cast<size_t>(c.shape.size())));
    const std::vector<double> x = numbers(g);
    const auto slices = slices_of(c);
    std::map<size_t, double> sums, counts;
    for (size_t i = 0; i < x.size(); ++i) {
      sums[slices[i]] += x[i];
      counts[slices[i]] += 1;
    }
    const auto alone = numbers(centralize(g, stays));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = x[i] - sums[slices[i]] / counts[slices[i]];
      ASSERT_NEAR(alone[i], want, 6e-8 * std::abs(want) + 1e-14) << i;  // rounded once
    }
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadTeam team(threads);
      Steps steps(Centralize{.axis = stays}, {kSmall, c.shape}, DType::float32);
      const auto got = steps.step(std::vector<Gradient>{Gradient(), g}, &team);
      EXPECT_EQ(numbers(got[1]), alone) << to_string(c.shape) << threads;
    }
  }
  EXPECT_EQ(tried, 4);
}

}  // namespace
}  // namespace rein
