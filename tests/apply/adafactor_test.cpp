// Adafactor where means of squares are far apart: floats follow a plain twin in double.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "process/numbers.h"
#include "rein/apply/apply.h"
#include "rein/apply/rules.h"

namespace rein {
namespace {

using Numbers = std::vector<double>;

// -u of the first step, from weights that are 0: without clip, at the learning rate 1.
Numbers step_of(const Adafactor& settings, const Shape& shape, const Numbers& gradient) {
  Variables vars;
  const Variable w = add_variable(vars, "w", shape, Numbers(gradient.size(), 0));
  Adafactor rule = settings;
  rule.learning_rate = 1;
  rule.clip_threshold = std::numeric_limits<double>::infinity();
  rule.relative_step = rule.scale_by_weights = false;
  const AnyRule any = rule;
  auto state = any.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  g.set(0, tensor(shape, gradient, DType::float32));
  apply_updates(vars, g, any, state, {}, team);
  return numbers(w.read());
}

// The same of a matrix by the formulas of the header.
Numbers twin(const Adafactor& rule, size_t rows, size_t columns, const Numbers& g) {
  const bool as_pytorch = rule.form == RuleForm::pytorch;
  const double add = as_pytorch ? 0 : rule.epsilon1, least = as_pytorch ? rule.epsilon1 : 0;
  Numbers r(rows), c(columns), u;
  for (size_t i = 0; i < g.size(); ++i) {
    r[i / columns] += (g[i] * g[i] + add) / static_cast<double>(columns);
    c[i % columns] += (g[i] * g[i] + add) / static_cast<double>(rows);
  }
  const double mean =
      std::max(std::accumulate(r.begin(), r.end(), 0.0) / static_cast<double>(rows), least);
  for (size_t i = 0; i < g.size(); ++i) {
    const double v = r[i / columns] * c[i % columns] / mean;
    u.push_back(-g[i] / std::sqrt(std::max(v, least * least)));
  }
  return u;
}

void expect_near(const Numbers& got, const Numbers& want) {
  ASSERT_EQ(got.size(), want.size());
  // Of a factor for the row, one for the column and two products: roundings of 6e-8 each.
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 3e-7 * std::abs(want[i])) << i;
}

TEST(Adafactor, MeansThatAreFarApart) {
  // Rows and columns of zeros beside large numbers, and small ones alone in theirs.
  const Numbers cases[] = {{1e15, 0, 0, 0, 1e-30, 0, 0, 0, 0},
                           {1e18, 3e-20, 0, 2e-25, 0, 0, 0, 0, 1e-32},
                           {1e-30, 0, 0, 0, 2e-30, 0, 0, 0, 0},
                           {0, 0, 0, 0, 0, 0, 0, 0, 0}};
  for (const RuleForm form : {RuleForm::keras, RuleForm::pytorch})
    for (const double epsilon : {1e-30, 1e-7})
      for (const Numbers& g : cases) {
        SCOPED_TRACE(testing::Message() << to_string(form) << " " << epsilon << " " << g[0]);
        const Adafactor rule{.epsilon1 = epsilon, .form = form};
        Numbers want = twin(rule, 3, 3, g);
        // The twin divides 0 by 0 where PyTorch's means have no bound.
        for (size_t i = 0; i < g.size(); ++i)
          if (g[i] == 0) want[i] = 0;
        expect_near(step_of(rule, {3, 3}, g), want);
      }
}

TEST(Adafactor, WithoutFactorsAMeanOfZeroIsNoDivisionByZero) {
  const Numbers g{0, 1e-25, 1e-15, -3};
  for (const RuleForm form : {RuleForm::keras, RuleForm::pytorch})
    for (const double epsilon : {0.0, 1e-30}) {
      const Numbers got = step_of({.epsilon1 = epsilon, .form = form}, {4}, g);
      EXPECT_EQ(got[0], 0);
      EXPECT_LE(std::abs(got[1]), 1);  // its square is no float
      EXPECT_NEAR(got[2], form == RuleForm::keras && epsilon > 0 ? -std::sqrt(0.5) : -1, 1e-6);
      EXPECT_NEAR(got[3], 1, 1e-6);
    }
}

TEST(Adafactor, RemembersElementsOnlyOfVariablesWithoutFactors) {
  Variables vars;
  const Variable matrix = add_variable(vars, "matrix", {3, 4}, noise(12, 1));
  const Variable bias = add_variable(vars, "bias", {5}, noise(5, 2));
  const Variable thin = add_variable(vars, "thin", {7, 2}, noise(14, 3));
  const Adafactor rule{.min_factored = 3};
  AnyRule::State state = AnyRule(rule).init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  for (size_t i = 0; i < 3; ++i)
    g.set(i, tensor(vars[i].shape(), noise(static_cast<size_t>(vars[i].shape().size()), 4 + i)));
  apply_updates(vars, g, rule, state, {}, team);

  StateDict saved;
  state.save("", saved);
  EXPECT_FALSE(saved.contains("v/matrix"));
  Slot& v = *state.slots().at(0);
  EXPECT_THROW(v.read(matrix), InvalidArgument);
  // The first mean is the square itself.
  for (const auto& [variable, stream] : {std::pair{bias, 5}, std::pair{thin, 6}}) {
    const auto got = numbers(v.read(variable));
    for (size_t i = 0; i < got.size(); ++i) {
      const auto x = static_cast<float>(noise(got.size(), static_cast<uint64_t>(stream))[i]);
      EXPECT_FLOAT_EQ(static_cast<float>(got[i]), x * x) << i;
    }
    EXPECT_EQ(numbers(std::get<Tensor>(saved.at("v/" + variable.name()))), got);
  }

  AnyRule::State other = AnyRule(rule).init(vars);
  StateReader reader(saved);
  other.load("", reader);
  reader.check("test", Where::here());
  other.load("", reader);
  EXPECT_EQ(numbers(other.slots().at(0)->read(thin)), numbers(v.read(thin)));
}

}  // namespace
}  // namespace rein
