// A program outside the project: one training step. The gradient of (3 w - 100)^2 at w = 0 is -600;
// clipped to 5, with a learning rate of 0.1, it takes w to 0.5.
#include <rein/rein.h>

#include <cmath>
#include <cstdio>

int main() {
  rein::Variables vars;
  const rein::Variable w = vars.add("w", {1, 1}, rein::zeros());
  auto cost = [&](rein::Value x, rein::Value y) { return reduce_sum(square(matmul(x, w) - y)); };
  rein::Step train = rein::record(cost, vars, rein::chain(rein::ClipByGlobalNorm{.clip_norm = 5}),
                                  rein::GradientDescent{.learning_rate = 0.1});
  const auto x = rein::Tensor::of<float>({1, 1}, {3}), y = rein::Tensor::of<float>({1, 1}, {100});
  const rein::StepInfo info = train(x, y);
  std::printf("norm %g, clipped to %g; w = %g\n", info.norm, info.clipped_norm, w.read().item());
  return std::abs(info.norm - 600) < 1e-3 && std::abs(w.read().item() - 0.5) < 1e-6 ? 0 : 1;
}
