// Norms of variables of which each rank holds a part.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "process/numbers.h"
#include "rein/dist/threads.h"
#include "rein/process/clip.h"
#include "rein/process/finite.h"
#include "rein/process/monitor.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int64_t kRows = 300, kColumns = 120;  // more than a block of a norm

// Gradients of a matrix "w", of which each of `ranks` has some rows, and of "b", which all have.
struct Model {
  Model(Communicator& ranks, DType dtype, double bad = 0)
      : rows(kRows / ranks.size()), first(ranks.rank() * rows), vars({}, dtype) {
    const auto empty = [](int64_t n) { return std::vector<double>(static_cast<size_t>(n)); };
    add_variable(vars, "w", {rows, kColumns}, empty(rows * kColumns));
    add_variable(vars, "b", {5}, empty(5));
    gradients.emplace(vars);
    std::vector<double> all = noise(kRows * kColumns, 1);
    all.back() += bad;
    const auto begin = all.begin() + first * kColumns;
    gradients->set(0, tensor({rows, kColumns}, {begin, begin + rows * kColumns}, dtype));
    gradients->set(1, vector(noise(5, 2), dtype));
  }
  int64_t rows, first;
  Variables vars;
  std::optional<Gradients> gradients{};
};

struct Outcome {
  StepInfo info;
  double scale = 0;
  std::vector<double> w, b;
};

Outcome run(const AnyTransform& transform, Model& model) {
  auto state = transform.init(model.vars);
  Outcome out;
  transform.update(*model.gradients, state, model.vars, out.info);
  out.scale = model.gradients->scale;
  out.w = numbers(model.gradients->get(0));
  out.b = numbers(model.gradients->get(1));
  return out;
}

// Of `size` ranks, each with its part, by a transform for these shards.
template <class Make>
std::vector<Outcome> of_ranks(int size, DType dtype, Make make, double bad = 0) {
  std::vector<Outcome> all(static_cast<size_t>(size));
  run_ranks(size, [&](Communicator& ranks) {
    Model model(ranks, dtype, bad);
    all[static_cast<size_t>(ranks.rank())] = run(make(Shards{&ranks, {"w"}}), model);
  });
  return all;
}
template <class Make>
Outcome whole(DType dtype, Make make) {
  Serial alone;
  Model model(alone, dtype);
  return run(make(std::nullopt), model);
}

// The parts of w one after the other are `want`, and every rank has the same of the rest.
void expect_parts(const std::vector<Outcome>& parts, const Outcome& want, double tolerance) {
  std::vector<double> w;
  for (const Outcome& part : parts) {
    w.insert(w.end(), part.w.begin(), part.w.end());
    EXPECT_EQ(part.scale, parts[0].scale);
    EXPECT_EQ(part.info.norm, parts[0].info.norm);
    EXPECT_EQ(part.b, parts[0].b);
    EXPECT_EQ(part.info.clipped, want.info.clipped);
    // The same squares in double, the sums of each part rounded once more.
    EXPECT_NEAR(part.info.norm, want.info.norm, 1e-15 * want.info.norm);
    EXPECT_NEAR(part.info.clipped_norm, want.info.clipped_norm, 1e-15 * want.info.clipped_norm);
    EXPECT_NEAR(part.scale, want.scale, 1e-15);
  }
  ASSERT_EQ(w.size(), want.w.size());
  for (size_t i = 0; i < w.size(); ++i)
    ASSERT_NEAR(w[i], want.w[i], tolerance * std::abs(want.w[i])) << i;
}

TEST(Shards, AreClippedByTheGlobalNormAsTheWhole) {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const double order : {1.0, 2.0, 3.0, kInf})
      for (const int size : {1, 2, 3}) {
        SCOPED_TRACE(testing::Message() << to_string(dtype) << ", order " << order << ", " << size);
        const auto make = [&](std::optional<Shards> shards) -> AnyTransform {
          return ClipByGlobalNorm{.clip_norm = 0.5, .norm_type = order, .shards = shards};
        };
        const Outcome want = whole(dtype, make);
        ASSERT_TRUE(want.info.clipped);
        // A factor that differs in its last bits may round to the next number.
        const double tolerance = dtype == DType::float32 ? 1.2e-7 : 1e-15;
        const auto parts = of_ranks(size, dtype, make);
        expect_parts(parts, want, tolerance);
        if (order == kInf || size == 1) {
          EXPECT_EQ(parts[0].scale, want.scale);
        }
      }
}

TEST(Shards, AreClippedByTheirNormAsTheWhole) {
  using S = std::optional<Shards>;
  // The norm of 5 standard normal numbers is below 4, over 5 below 0.8; that of 36,000 is about
  // 190, over 36,000 0.005.
  const std::function<AnyTransform(S)> makes[] = {
      [](S s) { return ClipByNorm{.clip_norm = 4, .shards = s}; },
      [](S s) { return ClipByBlockRms{.threshold = 0.9, .shards = s}; },
      [](S s) { return chain(except("b", ClipByAverageNorm{.clip_norm = 0.004, .shards = s})); }};
  for (const auto& make : makes)
    for (const int size : {1, 2, 3}) {
      const Outcome want = whole(DType::float64, make);
      ASSERT_TRUE(want.info.clipped);
      ASSERT_NE(want.w, noise(kRows * kColumns, 1));
      expect_parts(of_ranks(size, DType::float64, make), want, 1e-15);
    }
}

TEST(Shards, BelowTheLimitStayToTheBit) {
  for (const Outcome& part : of_ranks(2, DType::float32, [](Shards shards) -> AnyTransform {
         return ClipByGlobalNorm{.clip_norm = 1000, .shards = shards};
       })) {
    EXPECT_FALSE(part.info.clipped);
    EXPECT_EQ(part.scale, 1);
    EXPECT_NEAR(part.info.norm, std::sqrt(kRows * kColumns), 2);  // of standard normal numbers
  }
}

TEST(Shards, ThatAreSparseOrAbsentCountToo) {
  run_ranks(2, [](Communicator& ranks) {
    Variables vars;
    add_variable(vars, "e", {4, 1}, {0, 0, 0, 0});
    const ClipByGlobalNorm clip{.clip_norm = 1, .shards = Shards{&ranks, {"*"}}};
    auto state = clip.init(vars);
    for (const bool absent : {false, true}) {
      Gradients gradients(vars);
      if (ranks.rank() == 0)
        gradients.set(0, rows({2, 2}, {4, 1}, {1, 2}));  // 3
      else if (!absent)
        gradients.set(0, rows({1}, {4, 1}, {4}));
      StepInfo info;
      clip.update(gradients, state, vars, info);
      EXPECT_EQ(info.norm, absent ? 3 : 5);
      EXPECT_EQ(gradients.scale, absent ? 1.0 / 3 : 0.2);
    }
  });
}

TEST(Shards, OfWhichOneIsNotFiniteAreSkippedByAll) {
  for (const double bad : {kInf, std::nan("")})
    for (const Outcome& part : of_ranks(
             2, DType::float32,
             [](Shards shards) -> AnyTransform {
               return CheckFinite{.policy = NonFinite::skip, .shards = shards};
             },
             bad)) {
      EXPECT_TRUE(part.info.skip);
      EXPECT_EQ(part.info.non_finite, "w");
    }
}

TEST(Shards, AMonitorSeesTheWholeNorms) {
  const auto reports = [&](int size) {
    std::vector<MonitorReport> all(static_cast<size_t>(size));
    run_ranks(size, [&](Communicator& ranks) {
      const Monitor monitor;
      Model model(ranks, DType::float64);
      run(monitor.around(ClipByNorm{.clip_norm = 3, .shards = Shards{&ranks, {"w"}}}), model);
      all[static_cast<size_t>(ranks.rank())] = monitor.report();
    });
    return all;
  };
  const MonitorReport want = reports(1)[0];
  for (const MonitorReport& report : reports(2)) {
    EXPECT_NEAR(report.variables[0].last_norm, want.variables[0].last_norm, 1e-12);
    EXPECT_NEAR(report.variables[0].last_clipped_norm, 3, 1e-14);
    EXPECT_EQ(report.variables[1].last_norm, want.variables[1].last_norm);
  }
}

TEST(Shards, AreRefusedWhereTheyMakeNoSense) {
  Serial alone;
  Model model(alone, DType::float32);
  const auto text = [&](const AnyTransform& t) { return error_of([&] { t.init(model.vars); }); };
  EXPECT_EQ(text(ClipByGlobalNorm{.shards = Shards{}}),
            "ClipByGlobalNorm: shards have no communicator; name that of the parts");
  EXPECT_EQ(
      text(ClipByGlobalNorm{.semantics = Semantics::pytorch, .shards = Shards{&alone}}),
      "ClipByGlobalNorm: the semantics pytorch know no shards; take safe, or leave shards away");
  EXPECT_EQ(text(ClipByNorm{.semantics = Semantics::optax, .shards = Shards{&alone}}),
            "ClipByNorm: the semantics optax know no shards; take safe, or leave shards away");
  EXPECT_EQ(text(ClipByBlockRms{.semantics = Semantics::optax, .shards = Shards{&alone}}),
            "ClipByBlockRms: the semantics optax know no shards; take safe, or leave shards away");
  EXPECT_EQ(text(ClipByNorm{.axes = {0}, .shards = Shards{&alone}}),
            "ClipByNorm: shards have no norms along axes; leave one of the two away");
  EXPECT_EQ(text(CheckFinite{.shards = Shards{&alone, {"nobody"}}}),
            "CheckFinite: no variable matches 'nobody'; there are 'w', 'b'");
}

}  // namespace
}  // namespace rein
