// The weights after one step are those of the clipped gradient, for each clip, on each of the four
// ways to train. The expectation is computed by hand, in double, from the gradients of a tape.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "train/model.h"

namespace rein {
namespace {

using Lists = std::vector<std::vector<double>>;

struct Clip {
  const char* name;
  AnyTransform transform;
  std::function<Gradient(const Gradient&)> each;  // on one gradient, or ...
  TransformGrads all;                             // ... on all of them
  std::function<Lists(Lists)> by_hand;
};

void scale(std::vector<double>& g, double factor) {
  for (double& v : g) v *= factor;
}

double norm_of_all(const Lists& gradients) {
  double sum = 0;
  for (const auto& g : gradients) sum += norm_of(g) * norm_of(g);
  return std::sqrt(sum);
}

constexpr double kValue = 0.05, kNorm = 0.3, kAverage = 0.04, kGlobal = 0.5;

std::vector<Clip> clips() {
  const auto on_each = [](auto f) {
    return [f](std::span<const Gradient> list) {
      std::vector<Gradient> out;
      for (const Gradient& g : list) out.push_back(f(g));
      return out;
    };
  };
  const auto value = [](const Gradient& g) { return clip_by_value(g, -kValue, kValue); };
  const auto norm = [](const Gradient& g) { return clip_by_norm(g, kNorm); };
  const auto average = [](const Gradient& g) { return clip_by_average_norm(g, kAverage); };
  const auto global = [](std::span<const Gradient> list) {
    return clip_by_global_norm(list, kGlobal).gradients;
  };
  return {
      {"value", ClipByValue{-kValue, kValue}, value, on_each(value),
       [](Lists all) {
         for (auto& g : all)
           for (double& v : g) v = std::clamp(v, -kValue, kValue);
         return all;
       }},
      {"norm", ClipByNorm{.clip_norm = kNorm}, norm, on_each(norm),
       [](Lists all) {
         for (auto& g : all)
           if (norm_of(g) > kNorm) scale(g, kNorm / norm_of(g));
         return all;
       }},
      {"average", ClipByAverageNorm{.clip_norm = kAverage}, average, on_each(average),
       [](Lists all) {
         for (auto& g : all)
           if (const double a = norm_of(g) / static_cast<double>(g.size()); a > kAverage)
             scale(g, kAverage / a);
         return all;
       }},
      {"global", ClipByGlobalNorm{.clip_norm = kGlobal}, nullptr, global,
       [](Lists all) {
         const double norm_before = norm_of_all(all);
         for (auto& g : all) scale(g, kGlobal / norm_before);
         return all;
       }},
  };
}

constexpr double kRate = 0.25;

// A step of gradient descent by hand.
Lists moved(Lists weights, const Lists& gradients) {
  for (size_t i = 0; i < weights.size(); ++i)
    for (size_t k = 0; k < gradients[i].size(); ++k) weights[i][k] -= kRate * gradients[i][k];
  return weights;
}

void expect_near(const Lists& got, const Lists& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].size(), want[i].size());
    for (size_t k = 0; k < got[i].size(); ++k)
      EXPECT_NEAR(got[i][k], want[i][k], tolerance) << "variable " << i << " element " << k;
  }
}

class ClipEffect : public ::testing::TestWithParam<DType> {
 protected:
  // Weights of order 1, a handful of roundings on the way.
  double tolerance() const { return GetParam() == DType::float32 ? 5e-7 : 1e-15; }

  // Runs `step` on a fresh model for each clip and compares.
  template <class F>
  void check(F step) {
    for (const Clip& clip : clips()) {
      SCOPED_TRACE(clip.name);
      SmallModel model(GetParam());
      const Lists before = model.weights(), gradients = model.gradients();
      const Lists clipped = clip.by_hand(gradients);
      ASSERT_LT(norm_of_all(clipped), 0.9 * norm_of_all(gradients));  // it has something to clip
      step(model, clip);
      expect_near(model.weights(), moved(before, clipped), tolerance());
    }
  }
};

TEST_P(ClipEffect, GradientsInTheUsersHands) {
  check([](SmallModel& model, const Clip& clip) {
    GradientDescentOptimizer optimizer{{.learning_rate = kRate}};
    GradientTape tape;
    auto pairs = optimizer.compute_gradients(model.loss_on(tape), model.vars);
    if (clip.each) {
      for (auto& [grad, var] : pairs) grad = clip.each(grad);
      optimizer.apply_gradients(pairs);
    } else {
      std::vector<Gradient> list;
      for (auto& [grad, var] : pairs) list.push_back(grad);
      optimizer.apply_gradients(zip(clip.all(list), model.vars));
    }
  });
}

TEST_P(ClipEffect, TapeAndZip) {
  check([](SmallModel& model, const Clip& clip) {
    GradientDescentOptimizer optimizer{{.learning_rate = kRate}};
    GradientTape tape;
    const auto gradients = tape.gradient(model.loss_on(tape), model.vars);
    optimizer.apply_gradients(zip(clip.all(gradients), model.vars));
  });
}

TEST_P(ClipEffect, RecordedStep) {
  check([](SmallModel& model, const Clip& clip) {
    const double before = norm_of_all(model.gradients());
    const double after = norm_of_all(clip.by_hand(model.gradients()));
    Step train = record(model.cost(), model.vars, chain(clip.transform),
                        GradientDescent{.learning_rate = kRate});
    const StepInfo info = train(model.x, model.y, model.ids);
    EXPECT_TRUE(info.measured);
    EXPECT_TRUE(info.clipped);
    EXPECT_NEAR(info.norm, before, 1e-6 * before);
    EXPECT_NEAR(info.clipped_norm, after, 1e-6 * after);
    EXPECT_NEAR(info.scale, clip.each ? 1 : kGlobal / before, 1e-6);
  });
}

TEST_P(ClipEffect, DecoratorAndMinimize) {
  check([](SmallModel& model, const Clip& clip) {
    auto optimizer =
        transform_gradients(GradientDescentOptimizer{{.learning_rate = kRate}}, clip.all);
    GradientTape tape;
    optimizer.minimize(model.loss_on(tape), model.vars);
  });
}

TEST_P(ClipEffect, ClipGradientsByNormIsTheGlobalNorm) {
  SmallModel model(GetParam());
  const Lists before = model.weights();
  const Lists clipped = clips()[3].by_hand(model.gradients());
  auto optimizer =
      clip_gradients_by_norm(GradientDescentOptimizer{{.learning_rate = kRate}}, kGlobal);
  GradientTape tape;
  optimizer.minimize(model.loss_on(tape));
  expect_near(model.weights(), moved(before, clipped), tolerance());
  EXPECT_EQ(optimizer.name(), "ClipByNormGradientDescent");
}

TEST_P(ClipEffect, WhatIsNotClippedIsTheSameToTheBit) {
  const auto after = [&](const AnyTransform& transform) {
    SmallModel model(GetParam());
    Step train = record(model.cost(), model.vars, transform, Adam{});
    for (int i = 0; i < 3; ++i) train(model.x, model.y, model.ids);
    return model.weights();
  };
  const Lists plain = after(chain());
  const AnyTransform idle[] = {ClipByValue{-1e3, 1e3}, ClipByNorm{.clip_norm = 1e3},
                               ClipByAverageNorm{.clip_norm = 1e3},
                               ClipByGlobalNorm{.clip_norm = 1e3}, MeasureNorm{}};
  for (const AnyTransform& transform : idle) EXPECT_EQ(after(transform), plain);
  SmallModel model(GetParam());
  auto optimizer = clip_gradients_by_norm(AdamOptimizer{}, 1e3);
  for (int i = 0; i < 3; ++i) {
    GradientTape tape;
    optimizer.minimize(model.loss_on(tape), model.vars);
  }
  EXPECT_EQ(model.weights(), plain);
}

INSTANTIATE_TEST_SUITE_P(Types, ClipEffect, ::testing::Values(DType::float32, DType::float64),
                         [](const auto& type) { return std::string(to_string(type.param)); });

TEST(ClipEffectOnLargeGradients, AreAsLongAsTheLimit) {
  // A loss of 1e20 in float: the squares of the gradient overflow.
  SmallModel model(DType::float32, 1e20);
  const Lists before = model.weights();
  const Lists clipped = clips()[3].by_hand(model.gradients());
  Step train = record(model.cost(), model.vars, chain(ClipByGlobalNorm{.clip_norm = kGlobal}),
                      GradientDescent{.learning_rate = kRate});
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_GT(info.norm, 1e19);
  EXPECT_TRUE(info.finite);
  expect_near(model.weights(), moved(before, clipped), 5e-7);
}

}  // namespace
}  // namespace rein
