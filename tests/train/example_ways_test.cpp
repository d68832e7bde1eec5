// A batch of examples computed together, against the same examples one after the other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "allocations.h"
#include "process/numbers.h"
#include "train/example_models.h"

namespace rein::examples {
namespace {

// Between the least and the largest norm, so that some are clipped.
double middle(const std::vector<double>& norms) {
  const auto [least, most] = std::ranges::minmax(norms);
  return (least + most) / 2;
}

class ExamplesOf : public testing::TestWithParam<Model> {};
INSTANTIATE_TEST_SUITE_P(Models, ExamplesOf, testing::ValuesIn(models()),
                         [](const auto& test) { return test.param.name; });

void expect_near(const Outcome& got, const Outcome& want, double tolerance) {
  EXPECT_EQ(got.info.clipped_examples, want.info.clipped_examples);
  EXPECT_NEAR(got.info.loss, want.info.loss, tolerance);
  for (size_t i = 0; i < want.norms.size(); ++i)
    EXPECT_NEAR(got.norms[i], want.norms[i], tolerance * want.norms[i]) << i;
  for (size_t v = 0; v < want.moved.size(); ++v) {
    double largest = 0;
    for (double x : want.moved[v]) largest = std::max(largest, std::abs(x));
    EXPECT_GT(largest, 0) << want.names[v];
    for (size_t k = 0; k < want.moved[v].size(); ++k)
      ASSERT_NEAR(got.moved[v][k], want.moved[v][k], tolerance * (largest + 1)) << want.names[v];
  }
}

TEST_P(ExamplesOf, ABatchAreThoseOneByOne) {
  for (const DType dtype : {DType::float64, DType::float32})
    for (const auto limits :
         {ExampleLimits::together, ExampleLimits::equal, ExampleLimits::by_size}) {
      SCOPED_TRACE(to_string(limits));
      const double clip_norm = middle(Outcome(GetParam(), dtype, {.one_by_one = true}).norms);
      PerExample settings{.clip_norm = clip_norm, .limits = limits};
      const Outcome together(GetParam(), dtype, settings);
      settings.one_by_one = true;
      const Outcome loop(GetParam(), dtype, settings);
      EXPECT_EQ(together.why, "");
      EXPECT_GT(loop.info.clipped_examples, 0);
      if (limits == ExampleLimits::together) {
        EXPECT_LT(loop.info.clipped_examples, std::ssize(loop.norms));
      }
      // Sums of up to a few hundred products in another order.
      expect_near(together, loop, dtype == DType::float64 ? 1e-12 : 1e-5);
    }
}

// Roundings of inputs, at most 2^-16 each, a few in a row. An example whose loss is nearly 0 has a
// gradient that is a small difference (the probability of its label less 1): the largest norm
// counts.
TEST_P(ExamplesOf, NarrowProductsKeepTheirPromiseBothWays) {
  const ProductOptions narrow{Precision::bf16x3, true};
  const double clip_norm = middle(Outcome(GetParam(), DType::float64, {.one_by_one = true}).norms);
  const Outcome exact(GetParam(), DType::float64, {.clip_norm = clip_norm});
  const double largest = std::ranges::max(exact.norms);
  for (bool one_by_one : {false, true}) {
    SCOPED_TRACE(one_by_one);
    const Outcome got(GetParam(), DType::float32,
                      {.clip_norm = clip_norm, .one_by_one = one_by_one}, 1, narrow);
    EXPECT_EQ(got.why.empty(), !one_by_one);
    for (size_t i = 0; i < exact.norms.size(); ++i)
      EXPECT_NEAR(got.norms[i], exact.norms[i], 3e-5 * largest);
    double error = 0, size = 0;
    for (size_t v = 0; v < exact.moved.size(); ++v)
      for (size_t k = 0; k < exact.moved[v].size(); ++k) {
        error += std::pow(got.moved[v][k] - exact.moved[v][k], 2);
        size += std::pow(exact.moved[v][k], 2);
      }
    EXPECT_LE(std::sqrt(error), 3e-5 * std::sqrt(size));
  }
}

TEST_P(ExamplesOf, SameBitsForAnyNumberOfThreads) {
  const PerExample settings{.clip_norm = 0.3};
  const Outcome one(GetParam(), DType::float32, settings, 1);
  const Outcome three(GetParam(), DType::float32, settings, 3);
  EXPECT_EQ(one.norms, three.norms);
  EXPECT_EQ(one.moved, three.moved);
}

// Also where 0 times what is not finite would not be 0.
TEST_P(ExamplesOf, AnExampleThatIsNotFiniteIsLeftOut) {
  if (!is_floating(GetParam().inputs[0].dtype)) return;
  std::vector<Tensor> inputs = draw(GetParam(), DType::float64);
  inputs[0].flat<double>()[1] = std::numeric_limits<double>::infinity();
  const PerExample one_by_one{.clip_norm = 0.3, .one_by_one = true};
  const Outcome loop(GetParam(), DType::float64, one_by_one, inputs);
  const Outcome together(GetParam(), DType::float64, {.clip_norm = 0.3}, inputs);
  EXPECT_EQ(together.why, "");
  EXPECT_EQ(std::isfinite(together.norms[0]), std::isfinite(loop.norms[0]));
  EXPECT_TRUE(std::isfinite(together.norms[1]));
  for (size_t v = 0; v < loop.moved.size(); ++v)
    for (size_t k = 0; k < loop.moved[v].size(); ++k)
      ASSERT_NEAR(together.moved[v][k], loop.moved[v][k], 1e-12) << loop.names[v];
}

TEST(ExamplesTogether, AllocateNothingAfterTheFirstStep) {
  const std::vector<Model> all = models();
  const Model& characters = *std::ranges::find(all, "characters", &Model::name);
  for (const int threads : {1, 2}) {
    Variables vars{Seed{5}};
    Step step =
        record(characters.make(vars), vars, chain(ClipByGlobalNorm{.clip_norm = 1}), Adam{},
               {.threads = threads,
                .per_example = PerExample{.clip_norm = 0.3, .noise_multiplier = 0.1, .seed = 1}});
    const std::vector<Tensor> inputs = draw(characters, DType::float32);
    for (int i = 0; i < 2; ++i) step.run(inputs);
    EXPECT_EQ(step.one_by_one_because(), "");
    const int64_t before = app::allocation_count();
    for (int i = 0; i < 3; ++i) step.run(inputs);
    EXPECT_EQ(app::allocation_count(), before) << threads;
  }
}

TEST(ExamplesTogether, GoOnFromAStateOfThoseOneByOne) {
  const std::vector<Model> all = models();
  Variables one(Seed{5}), other(Seed{6});
  const auto step_of = [&](Variables& vars, bool one_by_one) {
    return record(all[0].make(vars), vars, chain(), Adam{},
                  {.per_example = PerExample{.clip_norm = 1, .one_by_one = one_by_one}});
  };
  Step first = step_of(one, true), second = step_of(other, false);
  first.run(draw(all[0], DType::float32));
  second.load_state(first.state());
  EXPECT_EQ(numbers(other[0].read()), numbers(one[0].read()));
}

}  // namespace
}  // namespace rein::examples
