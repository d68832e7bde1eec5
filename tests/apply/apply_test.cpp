#include <gtest/gtest.h>

#include "rein/rein.h"

namespace rein {
namespace {

TEST(Apply, GradientDescentMovesAgainstTheGradient) {
  Variables vars;
  const Variable w =
      vars.add("w", {3}, [](const Shape&, const RandomStream&, std::span<double> out) {
        for (double& v : out) v = 1;
      });
  GradientDescentOptimizer optimizer{{.learning_rate = 0.5}};
  const GradAndVar pair{Tensor::of<float>({3}, {2, 0, -2}), w};
  optimizer.apply_gradients({&pair, 1});
  EXPECT_EQ(w.read().flat<float>()[0], 0);
  EXPECT_EQ(w.read().flat<float>()[1], 1);
  EXPECT_EQ(w.read().flat<float>()[2], 2);
}

}  // namespace
}  // namespace rein
