// The op of docs/adding-an-op.md, from the struct to its row in the battery.
#include <gtest/gtest.h>

#include "ops/battery.h"
#include "rein/compute/op.h"

namespace rein {
namespace {

struct LeakyRelu {  // x where x > 0, else slope x
  static constexpr std::string_view name = "leaky_relu";
  double slope;

  bool operator==(const LeakyRelu&) const = default;

  Spec infer(Specs in) const {
    require(is_floating(in[0].dtype), "needs float32 or float64; use cast");
    require(slope >= 0 && slope < 1, "the slope must be at least 0 and less than 1");
    return in[0];
  }

  void forward(const Run& run, Ins in, Outs out) const {
    visit_float(out[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      const T *x = in[0].as<T>(), factor = static_cast<T>(slope);
      T* y = out[0].as<T>();
      run.team.run_ranges(out[0].size(), 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = x[i] > 0 ? x[i] : factor * x[i];
      });
    });
  }

  Cotangents vjp(const Backward& b) const {
    return {where(greater(b.in[0], 0.0), b.dy(), b.dy() * slope)};
  }
};

}  // namespace

Value leaky_relu(Operand x, double slope = 0.01, Where where = Where::here()) {
  return apply(LeakyRelu{slope}, {x}, where);
}

namespace test {
namespace {

double away_from_0(size_t, double x) { return x < 0 ? x - 0.1 : x + 0.1; }

TEST(AddingAnOp, ItsRowPassesTheBattery) {
  const OpRow row{.name = "leaky_relu",
                  .inputs = {{3, 12007}},  // more than one tile
                  .build = [](std::span<const Value> in) { return leaky_relu(in[0], 0.1); },
                  .map = away_from_0};
  EXPECT_LT(gradient_error(row, 1), 1e-7);
  EXPECT_LT(gradient_error(row, 2), 1e-6);
  EXPECT_EQ(bit_difference(row), "");
}

TEST(AddingAnOp, ItsValues) {
  GradientTape tape;
  const Value y = leaky_relu(tape.input(Tensor::of<double>({3}, {-2, 0, 3})), 0.25);
  const Tensor values = y.tensor();
  EXPECT_EQ(values.flat<double>()[0], -0.5);
  EXPECT_EQ(values.flat<double>()[1], 0);
  EXPECT_EQ(values.flat<double>()[2], 3);
}

TEST(AddingAnOp, ItsErrorsNameItTheArgumentAndThePlace) {
  GradientTape tape;
  try {
    leaky_relu(tape.input(Tensor({2})), -1);
    FAIL() << "a negative slope";
  } catch (const InvalidArgument& error) {
    EXPECT_TRUE(std::string_view(error.what())
                    .starts_with("leaky_relu: the slope must be at least 0 and less than 1, got "
                                 "float32 [2] ("))
        << error.what();
  }
}

}  // namespace
}  // namespace test
}  // namespace rein
