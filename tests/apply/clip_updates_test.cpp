// Clips of updates, against their formulas and the numbers of Optax.
#include "rein/apply/rules/clip_updates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "apply/rule_table.h"
#include "rein/process/finite.h"
#include "support/error_text.h"

namespace rein {
namespace {

const DType kWide = DType::float64;

// A dense variable "a" [2, 4], a sparse one "e" [4, 2] of which steps see rows 2 and 0, and "b"
// [2], which has no gradient in odd steps.
struct Walk {
  Variables vars;
  AnyRule rule;
  AnyRule::State state;
  const Partial* partial = nullptr;

  explicit Walk(const AnyRule& r, DType dtype = kWide) : vars({}, dtype), rule(r) {
    add_variable(vars, "a", {2, 4}, noise(8, 1));
    add_variable(vars, "e", {4, 2}, noise(8, 2));
    add_variable(vars, "b", {2}, noise(2, 3));
    state = rule.init(vars);
  }
  bool step(uint64_t t, double scale = 1) {
    Gradients g(vars);
    g.set(0, tensor({2, 4}, noise(8, 10 + t), vars.dtype()));
    g.set(1, rows({2, 0, 2}, {4, 2}, noise(6, 20 + t), vars.dtype()));
    if (t % 2 == 0) g.set(2, tensor({2}, noise(2, 30 + t), vars.dtype()));
    g.scale = scale;
    g.partial = partial;
    ThreadTeam team(1);
    return apply_updates(vars, g, rule, state, {}, team);
  }
};

TEST(ClipUpdates, WithoutAClipEveryRuleGoesItsOwnWay) {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const auto& [name, rule, by_rows] : rule_table(0.05, "e*", "b*")) {
      if (rule.moves_all() || !rule.lone_part().empty()) continue;
      SCOPED_TRACE(name);
      Walk alone(rule, dtype), inside(ClipUpdates{.rule = rule, .clip = chain()}, dtype);
      for (uint64_t t = 0; t < 4; ++t) {
        alone.step(t, 0.5);
        inside.step(t, 0.5);
        for (size_t i = 0; i < 3; ++i)
          EXPECT_EQ(numbers(inside.vars[i].read()), numbers(alone.vars[i].read())) << i;
      }
    }
}

// What momentum wants to add in each step, if nothing is clipped: of one variable, whose gradients
// come as rows or not.
struct MomentumTwin {
  std::vector<double> velocity;
  std::vector<double> delta(const std::vector<double>& gradient) {
    velocity.resize(gradient.size());
    std::vector<double> d;
    for (size_t i = 0; i < gradient.size(); ++i)
      d.push_back(-0.1 * (velocity[i] = 0.9 * velocity[i] + gradient[i]));
    return d;
  }
};

TEST(ClipUpdates, KaldisMaxChangeOfVariablesAndOfAllTogether) {
  Walk walk(ClipUpdates{.rule = Momentum{.learning_rate = 0.1, .momentum = 0.9},
                        .clip = MaxChange{.per_variable = 0.25, .global = 0.3}});
  std::vector<double> a = noise(8, 1), e = noise(8, 2), b = noise(2, 3);
  MomentumTwin of_a, of_e, of_b;
  int clipped = 0, together = 0;
  for (uint64_t t = 0; t < 6; ++t) {
    walk.step(t);
    const auto g = noise(6, 20 + t);
    std::vector<std::vector<double>> deltas{of_a.delta(noise(8, 10 + t)),
                                            of_e.delta({g[2], g[3], g[0] + g[4], g[1] + g[5]})};
    if (t % 2 == 0) deltas.push_back(of_b.delta(noise(2, 30 + t)));
    double square = 0;
    for (auto& d : deltas) {
      const double s = std::min(1.0, 0.25 / norm_of(d));
      clipped += s < 1;
      for (double& x : d) x *= s;
      square += norm_of(d) * norm_of(d);
    }
    const double s = std::min(1.0, 0.3 / std::sqrt(square));
    together += s < 1;
    for (size_t i = 0; i < 8; ++i) a[i] += s * deltas[0][i];
    for (size_t i = 0; i < 2; ++i) {
      e[i] += s * deltas[1][i];          // row 0
      e[4 + i] += s * deltas[1][2 + i];  // row 2
      if (deltas.size() > 2) b[i] += s * deltas[2][i];
    }
    const std::vector<double>* want[] = {&a, &e, &b};
    for (size_t v = 0; v < 3; ++v) {
      const auto got = numbers(walk.vars[v].read());
      for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], (*want[v])[i], 1e-14) << v;
    }
  }
  EXPECT_GT(clipped, 6);
  EXPECT_GT(together, 1);
}

TEST(ClipUpdates, OptaxsChainOfAdamAndClipByBlockRms) {
  // optax 0.2.8 in float64, made by:
  //   opt = optax.chain(optax.adam(0.1, b1=0.8, b2=0.9, eps=1e-8), optax.clip_by_block_rms(c))
  //   for g in gradients: u, s = opt.update(g, s, p); p = optax.apply_updates(p, u)
  const std::vector<std::vector<double>> of_a{
      {0.1, -0.2, 0.3, 4, 0, -1}, {1, 1, -1, 0.5, 0.125, 0.25}, {-3, 0.5, 0, 1, -0.25, 2}};
  const std::vector<std::vector<double>> of_b{{2, -0.5}, {0.01, 0.02}, {-1, 1}};
  struct Row {
    double limit;
    std::vector<double> a, b;
  };
  const Row table[] = {{0.06,
                        {0.906540793700682, -2.0634194506676597, 3.025841297274191,
                         0.2972389056156601, 0.2181992646862913, -0.9436527400040055},
                        {0.36883859023495513, -0.17459130140253193}},
                       {0.04,
                        {0.9408325156989107, -2.047264834798544, 3.0200785941021113,
                         0.3599627856286237, 0.23130689154264236, -0.9657060404251369},
                        {0.4094136411180122, -0.21399921941322414}}};
  for (const Row& row : table) {
    Variables vars({}, kWide);
    const Variable a = add_variable(vars, "a", {2, 3}, {1, -2, 3, 0.5, 0.25, -1});
    const Variable b = add_variable(vars, "b", {2}, {0.5, -0.25});
    const AnyRule rule = ClipUpdates{
        .rule = Adam{.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .form = RuleForm::optax},
        .clip = ClipByBlockRms{.threshold = row.limit}};
    auto state = rule.init(vars);
    Gradients g(vars);
    ThreadTeam team(1);
    for (size_t t = 0; t < 3; ++t) {
      g.set(0, tensor({2, 3}, of_a[t], kWide));
      g.set(1, vector(of_b[t], kWide));
      apply_updates(vars, g, rule, state, {}, team);
    }
    // A few ulp of numbers up to 3.
    for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(numbers(a.read())[i], row.a[i], 2e-15) << i;
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(numbers(b.read())[i], row.b[i], 2e-15) << i;
  }
}

TEST(ClipUpdates, LimitsFollowTheStepsOfTheRule) {
  Variables vars({}, kWide);
  const Variable w = add_variable(vars, "w", {1}, {1});
  const auto limit = [](int64_t step) { return step < 2 ? 0.5 : 0.125; };
  const AnyRule rule = ClipUpdates{.rule = GradientDescent{.learning_rate = 1},
                                   .clip = ClipByNorm{.clip_norm = limit}};
  auto state = rule.init(vars);
  Gradients g(vars);
  ThreadTeam team(1);
  std::vector<double> path;
  for (const bool skip : {false, true, false, false}) {
    g.set(0, vector({4}, kWide));
    EXPECT_EQ(apply_updates(vars, g, rule, state, {.step = 100, .skip = skip}, team), !skip);
    path.push_back(numbers(w.read())[0]);
  }
  EXPECT_EQ(path, (std::vector<double>{0.5, 0.5, 0, -0.125}));
}

TEST(ClipUpdates, ASkippedUpdateLeavesTheParametersAlone) {
  Walk walk(ClipUpdates{.rule = Adam{}, .clip = CheckFinite{.skip_above = 1e-6}});
  EXPECT_FALSE(walk.step(0));
  EXPECT_EQ(numbers(walk.vars[0].read()), noise(8, 1));
  EXPECT_EQ(numbers(walk.vars[1].read()), noise(8, 2));
}

// What a walk has come to: parameters, and what the rule remembers.
std::map<std::string, std::vector<double>> standing(Walk& walk) {
  std::map<std::string, std::vector<double>> all;
  for (size_t i = 0; i < walk.vars.size(); ++i)
    all[walk.vars[i].name()] = numbers(walk.vars[i].read());
  StateDict saved;
  walk.state.save("state", saved);
  for (const auto& [name, value] : saved) {
    if (const Tensor* t = std::get_if<Tensor>(&value))
      all[name] = numbers(*t);
    else if (const int64_t* n = std::get_if<int64_t>(&value))
      all[name] = {static_cast<double>(*n)};
    else
      all[name] = {std::get<double>(value)};
  }
  return all;
}

TEST(ClipUpdates, AStepThatIsSkippedOrEndsWithAnErrorHasNotHappened) {
  bool refuses = false, throws = false;
  const auto check = [&](Gradients&, const Variables&, StepInfo& info) {
    if (refuses && throws) throw NonFiniteError("too large");
    info.skip = refuses;
  };
  const AutoClip history{.percentile = 10, .window = 3};
  const AnyRule clipped = ClipUpdates{.rule = Adam{}, .clip = chain(history, check)};
  const std::pair<const char*, AnyRule> table[] = {
      {"one", clipped},
      {"the outer refuses",
       ClipUpdates{.rule = ClipUpdates{.rule = Adam{}, .clip = history}, .clip = check}},
      {"the inner refuses",
       ClipUpdates{.rule = ClipUpdates{.rule = Momentum{}, .clip = check}, .clip = history}},
      {"groups", ClipUpdates{.rule = RuleGroups{.groups = {{"e", Adagrad{}}}, .otherwise = Adam{}},
                             .clip = Groups{{{"a", history}, {"*", check}}}}},
      {"an average", WeightAverage{.rule = clipped, .averaging = Averaging::warming, .first = 2}},
      {"Lookahead", Lookahead{.rule = clipped, .sync_period = 2, .reset_state = true}}};
  for (const auto& [name, rule] : table)
    for (const bool error : {false, true}) {
      SCOPED_TRACE(testing::Message() << name << (error ? ", an error" : ", skipped"));
      throws = error;
      Walk walk(rule), plain(rule);
      for (uint64_t t = 0; t < 5; ++t) {
        refuses = true;
        if (error)
          EXPECT_THROW(walk.step(100 + t), NonFiniteError);
        else
          walk.step(100 + t);
        refuses = false;
        walk.step(t), plain.step(t);
        EXPECT_EQ(standing(walk), standing(plain));
      }
    }
}

// Of which every other rank has failed.
struct Alone final : Communicator {
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void all_reduce(std::span<float>) override { fail(); }
  void all_reduce(std::span<double>) override { fail(); }
  void broadcast(std::span<std::byte>, int) override { fail(); }
  static void fail() { throw RankError("alone"); }
};

TEST(ClipUpdates, WhateverThrowsLeavesTheRuleAsItWas) {
  Alone alone;
  const Partial partial{&alone, {0}};
  bool throws = false;
  const auto limit = [](int64_t step) { return step == 1 ? -1.0 : 5.0; };
  const auto own_norm = [&](double norm) {
    if (throws) throw InvalidArgument("test", "no norm", Where{});
    return norm;
  };
  const auto own_condition = [&](int64_t) {
    if (throws) throw InvalidArgument("test", "no condition", Where{});
    return true;
  };
  const std::pair<const char*, AnyTransform> table[] = {
      {"a limit", ClipByNorm{.clip_norm = limit}},
      {"a limit of some", only("a", ClipByGlobalNorm{.clip_norm = limit})},
      {"a limit in a chain", chain(MeasureNorm{}, ClipByBlockRms{.threshold = limit})},
      {"bounds", ClipByValue{.min = 0, .max = [&](int64_t step) { return limit(step); }}},
      {"examples", ClipByNorm{.clip_norm = per_sample(1)}},
      {"ranks", ClipByGlobalNorm{.clip_norm = 5, .shards = Shards{&alone}}},
      {"ranks of the step", ClipByGlobalNorm{.clip_norm = 5}},
      {"a norm", ClipByGlobalNorm{.clip_norm = 5, .use_norm = own_norm}},
      {"a condition", conditionally_transform(ClipByNorm{.clip_norm = 5}, own_condition)}};
  for (const auto& [name, clip] : table) {
    SCOPED_TRACE(name);
    const AnyRule rule = ClipUpdates{.rule = Adam{}, .clip = clip};
    Walk walk(rule);
    const std::string_view what = name;
    if (what != "examples" && what != "ranks") walk.step(0);  // which throw always
    const auto before = standing(walk);
    throws = true;
    if (what == "ranks of the step") walk.partial = &partial;
    EXPECT_THROW(walk.step(1), Error);
    throws = false;
    EXPECT_EQ(standing(walk), before);
  }
}

// Descent that keeps to itself what it remembers, so that nobody can copy it.
struct Silent {
  static constexpr std::string_view name = "Silent";
  struct State {
    int64_t count = 0;
  };
  State init(const Variables&) const { return {}; }
  std::vector<Slot*> slots(State&) const { return {}; }
  SparseUpdate sparse_update() const { return SparseUpdate::rows; }
  void begin(State& state, const Gradients&) const { ++state.count; }
  template <class T>
  void delta(std::span<T> d, State&, BlockPlace) const {
    for (T& x : d) x = -x;
  }
};

TEST(ClipUpdates, NothingIsCopiedForAClipThatCannotThrow) {
  const auto with = [](AnyTransform clip) {
    return test::error_of([&] { Walk(ClipUpdates{.rule = Silent{}, .clip = clip}).step(0); });
  };
  EXPECT_EQ(with(ClipByNorm{.clip_norm = 5}), "nothing thrown");
  EXPECT_EQ(with(chain(only("a", ClipByGlobalNorm{.clip_norm = 5}), ClipByValue{-1, 1})),
            "nothing thrown");
  EXPECT_NE(with(ClipByNorm{.clip_norm = [](int64_t) { return 5.0; }}), "nothing thrown");
  EXPECT_NE(with(chain(only("a", ClipByGlobalNorm{.clip_norm = per_sample(5)}))), "nothing thrown");
}

TEST(ClipUpdates, WhatIsNotFiniteIsNotRemembered) {
  const AnyRule rule = ClipUpdates{.rule = Adam{}, .clip = CheckFinite{}};
  Walk walk(rule), plain(rule);
  walk.step(0, std::numeric_limits<double>::quiet_NaN());
  walk.step(1), plain.step(1);
  EXPECT_EQ(standing(walk)["a"], standing(plain)["a"]);
  EXPECT_TRUE(std::isfinite(standing(walk)["state/rule/v/a"][0]));
}

TEST(ClipUpdates, AveragesGoAroundThemNotInto) {
  const AnyRule clipped = ClipUpdates{.rule = Adam{}, .clip = ClipByNorm{.clip_norm = 1e-3}};
  Walk averaged(WeightAverage{.rule = clipped}), alone(clipped);
  for (uint64_t t = 0; t < 3; ++t) averaged.step(t), alone.step(t);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(numbers(averaged.vars[i].read()), numbers(alone.vars[i].read()));

  const auto refusal = [](const AnyRule& rule) { return test::error_of([&] { Walk walk(rule); }); };
  EXPECT_EQ(refusal(ClipUpdates{.rule = Lookahead{.rule = Adam{}}, .clip = chain()}),
            "ClipUpdates: Lookahead moves parameters other than by deltas; put it around "
            "ClipUpdates");
  EXPECT_EQ(refusal(RuleGroups{.groups = {{"a", clipped}}, .otherwise = Adam{}}),
            "RuleGroups: ClipUpdates looks at all variables, so it cannot be the rule of some; put "
            "it around RuleGroups");
  EXPECT_EQ(refusal(ClipUpdates{.rule = Adam{}, .clip = ClipByNorm{.clip_norm = -1}}).substr(0, 10),
            "ClipByNorm");
}

TEST(ClipUpdates, AMaskLetsNothingMoveWhileTheRuleGoesOn) {
  Variables vars({}, DType::float64);
  const Variable v = add_variable(vars, "v", {1}, {0});
  const AnyRule rule =
      ClipUpdates{.rule = Momentum{.learning_rate = 1, .momentum = 0.5},
                  .clip = conditionally_mask(chain(), [](int64_t before) { return before != 1; })};
  auto state = rule.init(vars);
  ThreadTeam team;
  std::vector<double> course;
  for (int64_t t = 1; t <= 3; ++t) {
    Gradients gradients(vars);
    gradients.set(0, vector({1}, DType::float64));
    StepInfo info{.step = t};
    apply_updates(vars, gradients, rule, state, info, team);
    course.push_back(numbers(v.read())[0]);
  }
  // The momentum is 1, 1.5, 1.75.
  EXPECT_EQ(course, std::vector<double>({-1, -1, -2.75}));
}

}  // namespace
}  // namespace rein
