// What holds for every rule: kinds of gradients, skipped steps, threads, types.
#include <gtest/gtest.h>

#include <memory>

#include "apply/rule_table.h"
#include "support/error_text.h"

namespace rein {
namespace {

// Variables, a rule's state, and steps.
struct Walk {
  Variables vars;
  AnyRule rule;
  AnyRule::State state;
  ThreadTeam team;

  Walk(const AnyRule& r, DType dtype = DType::float64, int threads = 1)
      : vars({}, dtype), rule(r), team(threads) {}
  void add(const std::string& name, Shape shape, const std::vector<double>& values) {
    add_variable(vars, name, shape, values);
  }
  void init() { state = rule.init(vars); }
  void step(const std::vector<Gradient>& gradients, double scale = 1, bool skip = false) {
    Gradients all(vars);
    for (size_t i = 0; i < gradients.size(); ++i) all.set(i, gradients[i]);
    all.scale = scale;
    apply_updates(vars, all, rule, state, {.skip = skip}, team);
  }
  std::map<std::string, std::vector<double>> everything() { return rein::everything(vars, state); }
};

Gradient dense(Shape shape, uint64_t stream, DType dtype = DType::float64) {
  return tensor(shape, noise(static_cast<size_t>(shape.size()), stream), dtype);
}

TEST(AllRules, SparseGradientsAreTheirDenseOnesOrRowsOnTheirOwn) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    SCOPED_TRACE(name);
    const std::vector<double> start = noise(24, 1);
    Walk sparse(rule), other(rule);
    sparse.add("e", {6, 4}, start);
    sparse.init();
    EXPECT_EQ(rule.sparse_update(sparse.state, 0) == SparseUpdate::rows, by_rows);
    // In the order of the rows that are there: 1 and 4.
    if (by_rows) {
      std::vector<double> there(start.begin() + 4, start.begin() + 8);
      there.insert(there.end(), start.begin() + 16, start.begin() + 20);
      other.add("e", {2, 4}, there);
    } else {
      other.add("e", {6, 4}, start);
    }
    other.init();
    const auto fresh = sparse.everything();
    for (uint64_t t = 0; t < 5; ++t) {
      const std::vector<double> g = noise(12, 10 + t);  // rows 4, 1, 4: the last is added up
      const Gradient slices = rows({4, 1, 4}, {6, 4}, g, DType::float64);
      std::vector<double> merged(g.begin() + 4, g.begin() + 8);
      for (size_t j = 0; j < 4; ++j) merged.push_back(g[j] + g[8 + j]);
      sparse.step({slices}, 0.5);
      other.step({by_rows ? Gradient(tensor({2, 4}, merged, DType::float64))
                          : Gradient(to_dense(slices.sparse()))},
                 0.5);
    }
    const auto got = sparse.everything(), want = other.everything();
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [key, numbers] : want) {
      SCOPED_TRACE(key);
      if (got.at(key).size() == numbers.size()) {
        EXPECT_EQ(got.at(key), numbers);
        continue;
      }
      ASSERT_TRUE(by_rows);
      const auto& all = got.at(key);
      const std::vector<double>& before = fresh.at(key);
      for (size_t i = 0; i < 24; ++i) {
        const size_t row = i / 4, j = i % 4;
        EXPECT_EQ(all[i], row == 1 ? numbers[j] : row == 4 ? numbers[4 + j] : before[i]) << i;
      }
    }
    EXPECT_NE(got.at("weights/e"), start);
  }
}

TEST(AllRules, AnAbsentGradientChangesNothingOfItsVariable) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    SCOPED_TRACE(name);
    Walk walk(rule);
    walk.add("a", {3, 4}, noise(12, 1));
    walk.add("b", {4, 2}, noise(8, 2));
    walk.init();
    walk.step({dense({3, 4}, 3), dense({4, 2}, 4)});
    const auto before = walk.everything();
    walk.step({dense({3, 4}, 5), {}});
    const auto after = walk.everything();
    for (const auto& [key, numbers] : before)
      if ((key.ends_with("/b") && !key.ends_with("average/b")) ||
          key.find("factors/1/") != std::string::npos) {
        EXPECT_EQ(after.at(key), numbers) << key;  // an average goes on towards the weights
      }
    EXPECT_NE(after.at("weights/a"), before.at("weights/a"));
    walk.step({dense({3, 4}, 6), dense({4, 2}, 7)});
    const auto last = walk.everything().at("weights/b");
    EXPECT_NE(last, after.at("weights/b"));
    if (!name.ends_with("pytorch") && !name.ends_with("optax")) continue;
    // There the count of its steps rests too: it goes on as if that step had not been.
    Walk alone(rule);
    alone.add("b", {4, 2}, noise(8, 2));
    alone.init();
    for (const uint64_t stream : {uint64_t{4}, uint64_t{7}}) alone.step({dense({4, 2}, stream)});
    EXPECT_EQ(last, alone.everything().at("weights/b"));
  }
}

TEST(AllRules, ASkippedStepChangesNoState) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    SCOPED_TRACE(name);
    Walk with(rule), without(rule);
    for (Walk* walk : {&with, &without}) {
      walk->add("a", {3, 4}, noise(12, 1));
      walk->add("b", {3}, noise(3, 2));
      walk->init();
    }
    for (uint64_t t = 0; t < 4; ++t) {
      const std::vector<Gradient> g{dense({3, 4}, 10 + t), dense({3}, 20 + t)};
      const auto before = with.everything();
      with.step({dense({3, 4}, 30 + t), vector({std::nan(""), 1e300, 0}, DType::float64)}, 1, true);
      EXPECT_EQ(with.everything(), before);
      with.step(g);
      without.step(g);
    }
    EXPECT_EQ(with.everything(), without.everything());
  }
}

TEST(AllRules, GiveTheSameBitsForAnyNumberOfThreads) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    SCOPED_TRACE(name);
    std::map<std::string, std::vector<double>> first;
    for (int threads : {1, 2, 3}) {
      Walk walk(rule, DType::float32, threads);
      walk.add("matrix", {150, 120}, noise(18000, 1));
      walk.add("bias", {33001}, noise(33001, 2));
      walk.add("embedding", {4000, 6}, noise(24000, 3));
      walk.init();
      std::vector<int64_t> there;
      for (int64_t k = 0; k < 3000; ++k) there.push_back(k * 7 % 4000);
      for (uint64_t t = 0; t < 2; ++t)
        walk.step(
            {dense({150, 120}, 10 + t, DType::float32), dense({33001}, 20 + t, DType::float32),
             rows(there, {4000, 6}, noise(18000, 30 + t))},
            0.3);
      if (threads == 1) first = walk.everything();
      EXPECT_EQ(walk.everything(), first) << threads;
    }
  }
}

TEST(WholeVariables, MoveByTheDeltasThatASeerSees) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    if (!name.starts_with("lamb") && !name.starts_with("lars") && !name.starts_with("adafactor"))
      continue;
    SCOPED_TRACE(name);
    // A clip that clips nothing: the deltas are made first and added afterwards.
    const AnyRule seen = ClipUpdates{.rule = rule, .clip = ClipByGlobalNorm{.clip_norm = 1e30}};
    Walk at_once(rule, DType::float32), apart(seen, DType::float32, 2);
    for (Walk* walk : {&at_once, &apart}) {
      walk->add("matrix", {150, 120}, noise(18000, 1));
      walk->add("bias", {17001}, noise(17001, 2));
      walk->add("batch", {300, 3, 5}, noise(4500, 3));
      walk->init();
      for (uint64_t t = 0; t < 2; ++t)
        walk->step(
            {dense({150, 120}, 10 + t, DType::float32), dense({17001}, 20 + t, DType::float32),
             dense({300, 3, 5}, 30 + t, DType::float32)},
            0.3);
    }
    for (size_t i = 0; i < 3; ++i)
      EXPECT_EQ(numbers(at_once.vars[i].read()), numbers(apart.vars[i].read())) << i;
  }
}

TEST(AllRules, FloatsFollowDoublesWithinRounding) {
  for (const auto& [name, rule, by_rows] : rule_table()) {
    SCOPED_TRACE(name);
    // Eight steps, each of some roundings by 6e-8 of numbers of order 1 and of settings like
    // 1 - beta2 = 1e-3 by 6e-5 / 1e-3 of theirs, which a step of 0.05 makes 3e-6.
    double tolerance = 1e-5;
    // Each of Muon's five iterations makes small singular values, and their errors, 3.4 times as
    // large.
    if (name.starts_with("muon")) tolerance *= 100;
    Walk floats(rule, DType::float32), doubles(rule, DType::float64);
    for (Walk* walk : {&floats, &doubles}) {
      walk->add("a", {6, 4}, noise(24, 1));
      walk->add("b", {7}, noise(7, 2));
      walk->init();
    }
    doubles.vars.assign(doubles.vars[0], floats.vars[0].read().cast(DType::float64));
    doubles.vars.assign(doubles.vars[1], floats.vars[1].read().cast(DType::float64));
    for (uint64_t t = 0; t < 8; ++t) {
      const Gradient a = dense({6, 4}, 10 + t, DType::float32);
      const Gradient b = dense({7}, 20 + t, DType::float32);
      floats.step({a, b});
      doubles.step({a.values().cast(DType::float64), b.values().cast(DType::float64)});
    }
    for (size_t i = 0; i < 2; ++i) {
      const auto got = numbers(floats.vars[i].read()), want = numbers(doubles.vars[i].read());
      for (size_t j = 0; j < want.size(); ++j) EXPECT_NEAR(got[j], want[j], tolerance) << j;
    }
  }
}

TEST(AllRules, ALearningRateThatGoesWrongStopsBeforeAnythingChanges) {
  for (const double bad : {-1.0, std::nan("")}) {
    const Schedule rate = [bad](int64_t t) { return t == 1 ? bad : 0.05; };
    for (const auto& [name, rule, by_rows] : rule_table(rate)) {
      if (name.starts_with("rprop")) continue;  // has none
      SCOPED_TRACE(name);
      Walk walk(rule);
      walk.add("a", {3, 4}, noise(12, 1));
      walk.add("b", {3}, noise(3, 2));
      walk.init();
      const std::vector<Gradient> g{dense({3, 4}, 3), dense({3}, 4)};
      walk.step(g);
      const auto before = walk.everything();
      for (int again = 0; again < 2; ++again)  // it has not counted either
        EXPECT_THROW(walk.step(g), InvalidArgument);
      EXPECT_EQ(walk.everything(), before);
    }
  }
}

TEST(AllRules, EvaluateAScheduleOnceAStep) {
  int calls = 0;
  const auto rate = [&calls](int64_t) {
    ++calls;
    return 0.05;
  };
  for (const auto& [name, rule, by_rows] : rule_table(rate)) {
    if (name.starts_with("rprop")) continue;  // has none
    SCOPED_TRACE(name);
    Walk walk(rule);
    walk.add("a", {3, 4}, noise(12, 1));
    walk.init();
    calls = 0;
    for (uint64_t t = 1; t <= 3; ++t) {
      walk.step({dense({3, 4}, t)});
      const bool of_three = name == "groups";
      EXPECT_EQ(rule.rate(walk.state), of_three ? 0 : 0.05);
      EXPECT_EQ(calls, static_cast<int>(t) * (of_three ? 3 : 1));
    }
  }
}

TEST(RuleGroups, MovesEachVariableAsItsRuleAloneWould) {
  const AnyRule adam = Adam{.learning_rate = 0.1}, lion = Lion{.weight_decay = 0.1};
  const AnyRule lars = Lars{.learning_rate = 0.5};
  Walk groups(
      RuleGroups{.groups = {{"*/bias", adam}, {"e*", lion}, {"e/bias", lars}}, .otherwise = lars});
  const std::vector<std::pair<std::string, AnyRule>> expected{
      {"w", lars}, {"w/bias", adam}, {"e", lion}, {"e/bias", adam}};
  std::vector<std::unique_ptr<Walk>> alone;
  for (uint64_t i = 0; i < expected.size(); ++i) {
    const auto& [name, rule] = expected[i];
    groups.add(name, {3, 2}, noise(6, i));
    alone.push_back(std::make_unique<Walk>(rule));
    alone.back()->add(name, {3, 2}, noise(6, i));
    alone.back()->init();
  }
  groups.init();
  for (uint64_t t = 0; t < 4; ++t) {
    std::vector<Gradient> all;
    for (uint64_t i = 0; i < expected.size(); ++i) {
      all.push_back(dense({3, 2}, 10 * t + i));
      alone[i]->step({all.back()});
    }
    groups.step(all);
  }
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(numbers(groups.vars[i].read()), numbers(alone[i]->vars[0].read())) << i;
}

TEST(RuleGroups, APatternThatMatchesNothingIsAnError) {
  const auto error = [](const AnyRule& rule) {
    Walk walk(rule);
    walk.add("w", {2, 2}, noise(4));
    walk.add("bias", {2}, noise(2));
    return test::error_of([&] { walk.init(); });
  };
  EXPECT_EQ(error(RuleGroups{.groups = {{"biases*", Adam{}}}, .otherwise = AdamW{}}),
            "RuleGroups: no variable matches 'biases*'; there are 'w', 'bias'");
  EXPECT_EQ(error(Muon{.matrices = "weights"}),
            "Muon: no variable matches 'weights'; there are 'w', 'bias'");
  EXPECT_EQ(error(RuleGroups{.groups = {{"*", Adam{}}, {"bias", Lion{}}}, .otherwise = AdamW{}}),
            "nothing thrown");
}

TEST(RuleGroups, RememberOnlyWhatIsTheirOwn) {
  const auto remembered = [](const AnyRule& rule) {
    Walk walk(rule);
    for (const char* name : {"a", "bias", "c"})
      walk.add(name, name[0] == 'b' ? Shape{17} : Shape{8, 9}, noise(name[0] == 'b' ? 17 : 72));
    walk.init();
    std::vector<Gradient> all{dense({8, 9}, 4), dense({17}, 5), dense({8, 9}, 6)};
    for (int t = 0; t < 3; ++t) walk.step(all);
    StateDict saved;
    walk.state.save("", saved);
    std::vector<std::string> names;
    for (const auto& [name, value] : saved)
      for (const char* variable : {"/a", "/bias", "/c"})
        if (name.ends_with(variable)) names.push_back(name);
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(remembered(RuleGroups{.groups = {{"bias", Adagrad{}}, {"c", Lion{}}},
                                  .otherwise = Momentum{}}),
            (Names{"states/0/accumulator/bias", "states/1/m/c", "states/2/momentum/a"}));
  EXPECT_EQ(remembered(Muon{.matrices = "c", .others = Ftrl{}}),
            (Names{"others/accumulator/a", "others/accumulator/bias", "others/linear/a",
                   "others/linear/bias", "velocity/c"}));
}

TEST(RuleGroups, OfGroupsMoveEachVariableAsItsRuleAloneWould) {
  const AnyRule adagrad = Adagrad{.learning_rate = 0.1}, rmsprop = RMSProp{.learning_rate = 0.1};
  const AnyRule muon = Muon{.matrices = "m*", .others = adagrad};
  const AnyRule inner = RuleGroups{.groups = {{"b*", rmsprop}}, .otherwise = muon};
  const AnyRule rule = RuleGroups{.groups = {{"a", Adafactor{.min_factored = 128}}, {"b", Adam{}}},
                                  .otherwise = inner};
  Walk groups(rule);
  const std::vector<std::pair<std::string, AnyRule>> expected{
      {"c", adagrad}, {"a", Adafactor{.min_factored = 128}},
      {"b", Adam{}},  {"bias", rmsprop},
      {"m", Muon{}},  {"d", adagrad}};
  std::vector<std::unique_ptr<Walk>> alone;
  for (uint64_t i = 0; i < expected.size(); ++i) {
    const auto& [name, part] = expected[i];
    groups.add(name, {3, 7}, noise(21, i));
    alone.push_back(std::make_unique<Walk>(part));
    alone.back()->add(name, {3, 7}, noise(21, i));
    alone.back()->init();
  }
  groups.init();
  for (uint64_t t = 0; t < 4; ++t) {
    std::vector<Gradient> all;
    for (uint64_t i = 0; i < expected.size(); ++i) {
      all.push_back(i == 5 ? rows({2, 0}, {3, 7}, noise(14, 10 * t + i), DType::float64)
                           : dense({3, 7}, 10 * t + i));
      alone[i]->step({all.back()});
    }
    groups.step(all);
  }
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(numbers(groups.vars[i].read()), numbers(alone[i]->vars[0].read())) << i;
}

TEST(RuleGroups, BeginAllOfThemOrNone) {
  const Schedule rate = [](int64_t t) { return t == 1 ? -1.0 : 0.1; };
  Walk walk(RuleGroups{.groups = {{"a", Adam{}}}, .otherwise = Adam{.learning_rate = rate}});
  walk.add("a", {3}, noise(3, 1));
  walk.add("b", {3}, noise(3, 2));
  walk.init();
  const std::vector<Gradient> g{dense({3}, 3), dense({3}, 4)};
  walk.step(g);
  const auto before = walk.everything();
  EXPECT_THROW(walk.step(g), InvalidArgument);
  EXPECT_EQ(walk.everything(), before);  // the first has not counted
}

TEST(ScheduleFree, EvaluatesWithTheAverage) {
  // x = average of z weighted by lr^2, from the first step on, and y = (1 - beta1) z + beta1 x.
  const double beta1 = 0.8;
  const ScheduleFreeAdamW rule{.learning_rate = [](int64_t t) { return t < 2 ? 0.1 : 0.3; },
                               .beta1 = beta1,
                               .epsilon = 1e-3};
  Walk walk(rule);
  walk.add("w", {1}, {1});
  walk.init();
  auto& state = walk.state.as<ScheduleFreeAdamW::State>();
  EXPECT_EQ(numbers(rule.average(state, walk.vars[0]))[0], 1);
  double y = 1, z = 1, x = 1, v = 0, sum = 0;
  const double gradients[] = {0.5, -1, 2, 0.25};
  for (int t = 0; t < 4; ++t) {
    const double g = gradients[t], rate = t < 2 ? 0.1 : 0.3;
    v = 0.999 * v + 0.001 * g * g;
    z -= rate * g / (std::sqrt(v / (1 - std::pow(0.999, t + 1))) + 1e-3);
    sum += rate * rate;
    x += rate * rate / sum * (z - x);
    y = (1 - beta1) * z + beta1 * x;
    walk.step({vector({g}, DType::float64)});
    EXPECT_NEAR(numbers(walk.vars[0].read())[0], y, 1e-14) << t;
    EXPECT_NEAR(numbers(rule.average(state, walk.vars[0]))[0], x, 1e-14) << t;
  }
}

}  // namespace
}  // namespace rein
