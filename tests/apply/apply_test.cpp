// What apply_updates does, whatever the rule; rule_properties_test.cpp goes through all rules.
#include "rein/apply/apply.h"

#include <gtest/gtest.h>

#include <cmath>

#include "process/numbers.h"
#include "rein/apply/rules.h"

namespace rein {
namespace {

const AnyRule kRules[] = {GradientDescent{.learning_rate = 0.1}, Momentum{.learning_rate = 0.1},
                          Momentum{.learning_rate = 0.1, .form = RuleForm::pytorch},
                          Adam{.learning_rate = 0.1},
                          Adam{.learning_rate = 0.1, .form = RuleForm::pytorch}};

struct Snapshot {
  std::vector<std::vector<double>> numbers_of;  // of each variable, then of each slot of each
  Snapshot(Variables& vars, const AnyRule& rule, AnyRule::State& state) {
    for (size_t i = 0; i < vars.size(); ++i) {
      numbers_of.push_back(numbers(vars[i].read()));
      for (Slot* slot : rule.slots(state)) numbers_of.push_back(numbers(slot->read(vars[i])));
    }
  }
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

TEST(ApplyUpdates, MultipliesThePendingScaleIn) {
  for (const AnyRule& rule : kRules)
    for (const double scale : {0.25, 0x1p133}) {  // the second is no float
      Variables one, other;
      for (Variables* vars : {&one, &other}) add_variable(*vars, "w", {300}, noise(300, 1));
      Gradients scaled(one), plain(other);
      Tensor before = tensor({300}, noise(300, 2)), after(before.spec());
      for (size_t i = 0; i < 300; ++i) {
        float& x = before.flat<float>()[i];
        if (scale > 1) x *= 0x1p-100f;
        after.flat<float>()[i] = static_cast<float>(x * scale);
      }
      scaled.set(0, before);
      scaled.scale = scale;
      plain.set(0, after);
      auto a = rule.init(one), b = rule.init(other);
      ThreadTeam team(1);
      apply_updates(one, scaled, rule, a, {}, team);
      apply_updates(other, plain, rule, b, {}, team);
      EXPECT_EQ(Snapshot(one, rule, a), Snapshot(other, rule, b));
      EXPECT_NE(numbers(one[0].read()), noise(300, 1));
    }
}

TEST(ApplyUpdates, SparseRowsMoveAlone) {
  const AnyRule rule = Momentum{.learning_rate = 0.5, .momentum = 0.5};
  Variables vars;
  const Variable w = add_variable(vars, "w", {3, 2}, {1, 1, 1, 1, 1, 1});
  auto state = rule.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  g.set(0, rows({2, 2}, {3, 2}, {1, 2, 1, 2}));  // added up: (2, 4)
  apply_updates(vars, g, rule, state, {}, team);
  EXPECT_EQ(numbers(w.read()), (std::vector<double>{1, 1, 1, 1, 0, -1}));
  g.set(0, rows({0}, {3, 2}, {2, 2}));
  g.scale = 0.5;
  apply_updates(vars, g, rule, state, {}, team);
  EXPECT_EQ(numbers(w.read()), (std::vector<double>{0.5, 0.5, 1, 1, 0, -1}));
  EXPECT_EQ(numbers(rule.slots(state)[0]->read(w)), (std::vector<double>{1, 1, 0, 0, 2, 4}));
}

TEST(ApplyUpdates, ASparseGradientWithoutRowsMovesNothingUnderRows) {
  const AnyRule rule = GradientDescent{.learning_rate = 1};
  Variables vars;
  const Variable w = add_variable(vars, "w", {3, 2}, {1, 1, 1, 1, 1, 1});
  auto state = rule.init(vars);
  Gradients g(vars);
  g.set(0, IndexedSlices{Tensor({0, 2}), Tensor({0}, DType::int64), {3, 2}});
  ThreadTeam team(1);
  apply_updates(vars, g, rule, state, {}, team);
  EXPECT_EQ(numbers(w.read()), std::vector<double>(6, 1.0));
}

TEST(ApplyUpdates, PaddingStaysZero) {
  Variables vars;
  add_variable(vars, "a", {3}, {1, 2, 3});
  add_variable(vars, "b", {1}, {4});
  const AnyRule rule = Adam{};
  auto state = rule.init(vars);
  Gradients g(vars);
  auto* numbers_of = g.dense<float>(0).data();
  for (size_t i = 0; i < 16; ++i) numbers_of[i] = 1;  // a and what lies behind it
  g.set_kind(0, Gradients::Kind::dense);
  ThreadTeam team(1);
  apply_updates(vars, g, rule, state, {}, team);
  const float* block = static_cast<const float*>(vars.block());
  for (size_t i = 3; i < 16; ++i) EXPECT_EQ(block[i], 0) << i;
}

TEST(ApplyUpdates, RefusesVariablesThatWereAddedLater) {
  Variables vars;
  const Variable a = add_variable(vars, "a", {1}, {1});
  const AnyRule rule = GradientDescent{};
  auto state = rule.init(vars);
  Gradients g(vars);
  g.set(0, vector({1}));
  add_variable(vars, "b", {1}, {1});
  ThreadTeam team(1);
  EXPECT_THROW(apply_updates(vars, g, rule, state, {}, team), InvalidArgument);
  EXPECT_EQ(numbers(a.read())[0], 1);
}

TEST(Slot, ReadsAndAssignsOneVariable) {
  Variables vars;
  add_variable(vars, "a", {2}, {1, 2});
  const Variable b = add_variable(vars, "b", {3}, {1, 2, 3});
  Slot slot("m", vars);
  EXPECT_EQ(numbers(slot.read(b)), (std::vector<double>{0, 0, 0}));
  slot.assign(b, vector({7, 8, 9}));
  EXPECT_EQ(numbers(slot.read(b)), (std::vector<double>{7, 8, 9}));
  EXPECT_EQ(numbers(slot.read(vars[0])), (std::vector<double>{0, 0}));
  EXPECT_THROW(slot.assign(b, vector({1})), InvalidArgument);
  EXPECT_THROW(slot.assign(b, vector({1, 2, 3}, DType::float64)), InvalidArgument);
  const Variable late = add_variable(vars, "late", {20}, noise(20));
  EXPECT_THROW(slot.read(late), InvalidArgument);
}

/// A rule of the user's.
struct SignDescent {
  static constexpr std::string_view name = "SignDescent";
  double step = 0.5;
  struct State {};
  SparseUpdate sparse_update() const { return SparseUpdate::rows; }
  State init(const Variables&) const { return {}; }
  void begin(State&, const Gradients&) const {}
  template <class T>
  void move(std::span<T> d) const {
    for (T& v : d) v = static_cast<T>(v > 0 ? -step : v < 0 ? step : 0);
  }
  void delta(std::span<float> d, State&, BlockPlace) const { move(d); }
  void delta(std::span<double> d, State&, BlockPlace) const { move(d); }
  std::vector<Slot*> slots(State&) const { return {}; }
};

TEST(ApplyUpdates, TakesARuleOfTheUsers) {
  Variables vars;
  const Variable w = add_variable(vars, "w", {3}, {1, 1, 1});
  const AnyRule rule = SignDescent{};
  auto state = rule.init(vars);
  Gradients g(vars);
  g.set(0, vector({9, -1e-9, 0}));
  ThreadTeam team(1);
  apply_updates(vars, g, rule, state, {}, team);
  EXPECT_EQ(numbers(w.read()), (std::vector<double>{0.5, 1.5, 1}));
}

}  // namespace
}  // namespace rein
