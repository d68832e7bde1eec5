// Steps that watch and guard themselves allocate nothing after the first.
#include "allocations.h"

#include <gtest/gtest.h>

#include "train/model.h"

namespace rein {
namespace {

TEST(Allocations, AStepWithMonitorChecksClipsAndRollbackMakesNone) {
  for (const int threads : {1, 2}) {
    SmallModel model;
    Serial alone;
    const Monitor monitor({.every = 2});
    Step step =
        record(model.cost(), model.vars,
               chain(CheckFinite{.policy = NonFinite::skip},
                     monitor.around(chain(ClipByValue{-1, 1}, AdaptiveGradClip{.clipping = 0.1},
                                          ClipByNorm{.clip_norm = 0.2, .axes = {1}},
                                          ClipByNorm{.clip_norm = 0.3},
                                          ClipByGlobalNorm{.clip_norm = 0.1}))),
               WeightAverage{
                   .rule = ClipUpdates{.rule = Adam{}, .clip = ClipByBlockRms{.threshold = 1e-3}}},
               {.threads = threads,
                .rollback = Rollback{.every = 3, .most_bad = 1},
                .communicator = &alone});
    Tensor bad = model.x.clone();
    bad.flat<float>()[0] = std::nanf("");
    const auto steps = [&] {
      int64_t clipped = 0;
      for (int i = 0; i < 10; ++i) clipped += step(model.x, model.y, model.ids).clipped;
      return clipped;
    };
    steps();
    const int64_t before = app::allocation_count();
    EXPECT_EQ(steps(), 10);
    EXPECT_EQ(app::allocation_count(), before) << threads;
    EXPECT_TRUE(step(bad, model.y, model.ids).skip);
  }
#ifndef REIN_SANITIZED
  const int64_t before = app::allocation_count();
  delete new std::string(100, 'x');
  EXPECT_GT(app::allocation_count(), before);  // it counts
#endif
}

// Once a first few steps have made what the others use.
void expect_none(SmallModel& model, Step& step) {
  const auto steps = [&] {
    for (int i = 0; i < 3; ++i) step(model.x, model.y, model.ids);
  };
  steps();
  const int64_t before = app::allocation_count();
  steps();
  EXPECT_EQ(app::allocation_count(), before);
}

TEST(Allocations, AMonitorAroundGroupsMakesNone) {
  SmallModel model;
  const Monitor monitor;
  Step step = record(model.cost(), model.vars,
                     monitor.around(Groups{{{"w", ClipByNorm{.clip_norm = 0.1}},
                                            {"e", ClipByGlobalNorm{.clip_norm = 0.1}}}}),
                     Adam{}, {.threads = 1});
  expect_none(model, step);
}

TEST(Allocations, AStepWithSharpnessMakesNoneForItsMetrics) {
  SmallModel model;
  const auto cost = [&](Value x, Value y, Value ids) -> Values {
    return {model.loss(x, y, ids), matmul(x, model.w)};
  };
  Step step = record(cost, model.vars, chain(), Adam{}, {.threads = 1, .sharpness = Sharpness{}});
  expect_none(model, step);
}

}  // namespace
}  // namespace rein
