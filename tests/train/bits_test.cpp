// The bits of gradients and parameters, whoever computes them.
#include <gtest/gtest.h>

#include <thread>

#include "train/bench_networks.h"

namespace rein {
namespace {

class BitsOf : public testing::TestWithParam<app::StepShape> {};
INSTANTIATE_TEST_SUITE_P(Networks, BitsOf, testing::ValuesIn(bench_shapes()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(BitsOf, AreTheSameForAnyNumberOfThreads) {
  const Trained one = train(GetParam(), 1);
  for (int threads : {2, 3}) {
    const Trained other = train(GetParam(), threads);
    EXPECT_TRUE(other.gradients == one.gradients) << threads;
    EXPECT_TRUE(other.parameters == one.parameters) << threads;
  }
}

TEST(Bits, OfTwoStepsAtOnceAreThoseOfEachAlone) {
  std::vector<app::StepShape> shapes;
  for (const app::StepShape& s : bench_shapes())
    if (s.name == "charrnn" || s.name == "forecast") shapes.push_back(s);
  ASSERT_EQ(shapes.size(), 2u);
  std::vector<Trained> alone, together(2);
  for (const app::StepShape& s : shapes) alone.push_back(train(s, 2));
  std::vector<std::thread> users;
  for (size_t i = 0; i < 2; ++i) users.emplace_back([&, i] { together[i] = train(shapes[i], 2); });
  for (std::thread& user : users) user.join();
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(together[i] == alone[i]) << shapes[i].name;
}

}  // namespace
}  // namespace rein
