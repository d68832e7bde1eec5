// The program of docs/precision.md.
#include <gtest/gtest.h>

#include "rein/rein.h"

namespace rein {
namespace {

TEST(PrecisionDocs, OneSettingOfAStep) {
  if (const std::string why = why_not({Precision::bf16x3}); !why.empty()) GTEST_SKIP() << why;
  Variables vars;
  const Variable w = vars.add("w", {2, 1}, random_uniform(-1, 1));
  const auto cost = [&](Value x) { return reduce_mean(square(matmul(x, w))); };
  Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{},
                      {.products = {.precision = Precision::bf16x3}});
  Tensor x({4, 2});
  x.flat<float>()[0] = 1;
  EXPECT_GT(train(x).loss, 0);
}

}  // namespace
}  // namespace rein
