#include "battery.h"

#include <gtest/gtest.h>

#include <iostream>

namespace rein::test {
namespace {

class Battery : public testing::TestWithParam<OpRow> {};

TEST_P(Battery, GradientIsTheDerivative) {
  if (GetParam().has_gradient) {
    EXPECT_LT(gradient_error(GetParam(), 1), 1e-7);
  }
}
TEST_P(Battery, GradientOfTheGradientIsTheDerivative) {
  // Differences of first derivatives lose a digit to rounding.
  if (GetParam().has_gradient && GetParam().second_order) {
    EXPECT_LT(gradient_error(GetParam(), 2), 1e-6);
  }
}
TEST_P(Battery, SameBitsHoweverItRuns) { EXPECT_EQ(bit_difference(GetParam()), ""); }

std::string name_of(const testing::TestParamInfo<OpRow>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Ops, Battery, testing::ValuesIn(all_rows()), name_of);

TEST(BatteryIsComplete, EveryOpOccursInARow) {
  std::set<std::string> covered;
  for (const OpRow& row : all_rows()) covered.merge(ops_of(row));
  for (const OpRecord* op = first_op(); op; op = op->next)
    if (!op->name.starts_with("test_")) {
      EXPECT_TRUE(covered.contains(std::string(op->name))) << op->name << " is in no row";
    }
}

// The checker is checked: a rule that is wrong by a hair must be found.
struct WrongSquare {
  static constexpr std::string_view name = "test_wrong_square";
  bool operator==(const WrongSquare&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run&, Ins in, Outs out) const {
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < in[0].size(); ++i)
        out[0].as<T>()[i] = in[0].as<T>()[i] * in[0].as<T>()[i];
    });
  }
  Cotangents vjp(const Backward& b) const { return {b.dy() * b.in[0] * 2.000001}; }
};

TEST(BatteryIsChecked, AWrongRuleIsFound) {
  const OpRow row{.name = "wrong", .inputs = {{3}}, .build = [](std::span<const Value> in) {
                    return apply(WrongSquare{}, {in[0]}, Where::here());
                  }};
  EXPECT_GT(gradient_error(row, 1), 1e-7);
}

// An op whose result depends on how it is run must be found.
struct Unsteady {
  static constexpr std::string_view name = "test_unsteady";
  static constexpr std::string_view no_gradient = "a test";
  bool operator==(const Unsteady&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run& run, Ins in, Outs out) const {
    for (int64_t i = 0; i < in[0].size(); ++i)
      out[0].as<float>()[i] = static_cast<float>(run.team.size());
  }
};

TEST(BatteryIsChecked, ADependenceOnThreadsIsFound) {
  const OpRow row{
      .name = "unsteady",
      .inputs = {{3}},
      .build = [](std::span<const Value> in) { return apply(Unsteady{}, {in[0]}, Where::here()); },
      .has_gradient = false};
  EXPECT_NE(bit_difference(row), "");
}

}  // namespace

std::vector<OpRow> all_rows() {
  std::vector<OpRow> rows;
  for (auto family : {elementwise_rows, array_rows, product_rows, loss_rows, example_rows})
    for (OpRow& row : family()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace rein::test
