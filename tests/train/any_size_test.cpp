// Norms of a whole step, in which denormals are zero, at both ends of the range of floats.
#include <gtest/gtest.h>

#include <cmath>

#include "rein/rein.h"

namespace rein {
namespace {

TEST(StepOfAnySize, ClipsToTheRightNorm) {
  for (const float size : {1.2e-38f, 1e-37f, 1e-25f, 1.0f, 1e20f, 3e38f})
    for (const bool clips : {false, true}) {
      if (clips && size < 3e-38f) continue;  // half of it would be denormal
      Variables vars;
      const Variable w = vars.add("w", {4}, zeros());
      // The gradient is x, its norm 2 size.
      const double limit = clips ? double{size} : 1e39;
      Step step = record([&](Value x) { return reduce_sum(x * w); }, vars,
                         chain(ClipByGlobalNorm{.clip_norm = limit}),
                         GradientDescent{.learning_rate = 1.0});
      const StepInfo info = step(Tensor::of<float>({4}, {size, -size, size, size}));
      EXPECT_NEAR(info.norm, 2 * double{size}, 1e-6 * double{size}) << size;
      EXPECT_EQ(info.clipped, clips);
      const Tensor moved = w.read();
      double squares = 0;  // of numbers near 1
      for (float v : moved.flat<float>()) squares += std::pow(double{v} / double{size}, 2);
      EXPECT_NEAR(std::sqrt(squares), clips ? 1 : 2, 1e-6) << size;
    }
}

// The processor flushes what is below the least normal float.
TEST(StepOfAnySize, DenormalGradientsAreZero) {
  Variables vars;
  const Variable w = vars.add("w", {1}, zeros());
  Step step = record([&](Value x) { return reduce_sum(x * w); }, vars,
                     chain(ClipByGlobalNorm{.clip_norm = 1}), GradientDescent{});
  EXPECT_EQ(step(Tensor::of<float>({1}, {1e-38f})).norm, 0);
}

}  // namespace
}  // namespace rein
