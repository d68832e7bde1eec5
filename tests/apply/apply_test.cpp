// What apply_updates does with each kind of gradient, whatever the rule.
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
  for (const AnyRule& rule : kRules) {
    Variables one, other;
    for (Variables* vars : {&one, &other}) add_variable(*vars, "w", {300}, noise(300, 1));
    Gradients scaled(one), plain(other);
    scaled.set(0, vector(noise(300, 2)));
    scaled.scale = 0.25;
    Gradient quarter = vector(noise(300, 2));
    Tensor numbers_of = quarter.values();
    for (float& v : numbers_of.flat<float>()) v *= 0.25f;
    plain.set(0, quarter);
    auto a = rule.init(one), b = rule.init(other);
    ThreadTeam team(1);
    apply_updates(one, scaled, rule, a, {}, team);
    apply_updates(other, plain, rule, b, {}, team);
    EXPECT_EQ(Snapshot(one, rule, a), Snapshot(other, rule, b));
    EXPECT_NE(numbers(one[0].read()), noise(300, 1));
  }
}

TEST(ApplyUpdates, AbsentGradientsLeaveVariableAndSlotsAlone) {
  for (const AnyRule& rule : kRules) {
    Variables vars;
    const Variable a = add_variable(vars, "a", {3}, {1, 2, 3});
    const Variable b = add_variable(vars, "b", {2}, {4, 5});
    auto state = rule.init(vars);
    Gradients g(vars);
    g.set(0, vector({1, 1, 1}));
    g.set(1, vector({1, 1}));
    ThreadTeam team(1);
    apply_updates(vars, g, rule, state, {}, team);
    std::vector<std::vector<double>> of_b{numbers(b.read())};
    for (Slot* slot : rule.slots(state)) of_b.push_back(numbers(slot->read(b)));
    const auto a_before = numbers(a.read());
    g.set(1, {});
    apply_updates(vars, g, rule, state, {}, team);
    std::vector<std::vector<double>> after{numbers(b.read())};
    for (Slot* slot : rule.slots(state)) after.push_back(numbers(slot->read(b)));
    EXPECT_EQ(after, of_b) << rule.name();
    EXPECT_NE(numbers(a.read()), a_before);
  }
}

TEST(ApplyUpdates, SkippedStepsTouchNothing) {
  for (const AnyRule& rule : kRules) {
    Variables with, without;
    for (Variables* vars : {&with, &without}) add_variable(*vars, "w", {3}, {1, 2, 3});
    auto a = rule.init(with), b = rule.init(without);
    ThreadTeam team(1);
    for (int step = 0; step < 4; ++step) {
      Gradients g(with), h(without);
      g.set(0, vector({1, -1, 0.5}));
      h.set(0, vector({1, -1, 0.5}));
      apply_updates(with, g, rule, a, {}, team);
      apply_updates(without, h, rule, b, {}, team);
      const Snapshot before(with, rule, a);
      g.set(0, vector({std::nan(""), 1e30, 7}));
      apply_updates(with, g, rule, a, {.skip = true}, team);
      EXPECT_EQ(Snapshot(with, rule, a), before) << rule.name();
    }
    // The count of bias corrections did not advance either.
    EXPECT_EQ(Snapshot(with, rule, a), Snapshot(without, rule, b)) << rule.name();
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

TEST(ApplyUpdates, SparseAsDenseWhereTheRuleDecaysEverywhere) {
  for (const AnyRule& rule : {AnyRule(Adam{.learning_rate = 0.1}),
                              AnyRule(Momentum{.learning_rate = 0.1, .form = RuleForm::keras})}) {
    Variables one, other;
    for (Variables* vars : {&one, &other}) add_variable(*vars, "w", {3, 2}, {1, 1, 1, 1, 1, 1});
    auto a = rule.init(one), b = rule.init(other);
    ThreadTeam team(1);
    Gradients sparse(one), dense(other);
    for (const Gradient& slices :
         {rows({2, 0, 2}, {3, 2}, {1, 2, 3, 4, 5, 6}), rows({1}, {3, 2}, {1, -1})}) {
      sparse.set(0, slices);
      dense.set(0, to_dense(slices.sparse()));
      apply_updates(one, sparse, rule, a, {}, team);
      apply_updates(other, dense, rule, b, {}, team);
      EXPECT_EQ(sparse.kind(0), Gradients::Kind::sparse);
      EXPECT_EQ(Snapshot(one, rule, a), Snapshot(other, rule, b)) << rule.name();
    }
  }
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

TEST(ApplyUpdates, SameBitsForAnyNumberOfThreads) {
  const size_t sizes[] = {40000, 3, 16384, 16385, 1};
  for (const AnyRule& rule : kRules) {
    std::vector<std::vector<double>> first;
    for (int threads : {1, 2, 3}) {
      Variables vars;
      for (size_t n : sizes)
        add_variable(vars, std::to_string(n), {static_cast<int64_t>(n)}, noise(n, n));
      add_variable(vars, "rows", {5000, 8}, noise(40000, 9));
      std::vector<int64_t> indices;
      for (int64_t k = 0; k < 4000; ++k) indices.push_back(k * 7 % 5000);
      auto state = rule.init(vars);
      ThreadTeam team(threads);
      for (uint64_t step = 0; step < 3; ++step) {
        Gradients g(vars);
        for (size_t i = 0; i < 5; ++i) g.set(i, vector(noise(sizes[i], 100 * step + i)));
        g.set(5, rows(indices, {5000, 8}, noise(32000, step)));
        g.scale = 0.3;
        apply_updates(vars, g, rule, state, {}, team);
      }
      const Snapshot got(vars, rule, state);
      if (threads == 1) first = got.numbers_of;
      EXPECT_EQ(got.numbers_of, first) << rule.name() << " " << threads;
    }
  }
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
