// Clips as transforms on the gradients of a step.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "process/numbers.h"
#include "rein/process/clip.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

// Three variables: a (3, 4), b absent, c with rows 1 (twice) and 0 of three.
struct Model {
  explicit Model(DType dtype = DType::float32) : vars({}, dtype) {
    a = add_variable(vars, "a", {2}, {0, 0});
    b = add_variable(vars, "b", {5}, {0, 0, 0, 0, 0});
    c = add_variable(vars, "c", {3, 1}, {0, 0, 0});
  }
  Gradients gradients(const std::vector<double>& of_a = {3, 4},
                      const std::vector<double>& of_c = {5, 0, 7}) {
    Gradients g(vars);
    g.set(0, vector(of_a, vars.dtype()));
    g.set(2, rows({1, 0, 1}, {3, 1}, of_c, vars.dtype()));
    return g;
  }
  Variables vars;
  Variable a, b, c;
};

struct Outcome {
  Gradients gradients;
  StepInfo info;
};

Outcome run(const AnyTransform& transform, Model& model, Gradients gradients) {
  auto state = transform.init(model.vars);
  StepInfo info;
  transform.update(gradients, state, model.vars, info);
  return {std::move(gradients), info};
}

std::vector<double> dense(const Gradient& g) {
  return g.is_sparse() ? numbers(Gradient(to_dense(g.sparse()))) : numbers(g);
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 3e-7 * std::abs(want[i])) << i;  // a few roundings to float
}

const double kNorm = 13;  // of (3, 4) and the sum 12 of row 1

TEST(ClipByGlobalNormTransform, SetsTheScaleAndTellsTheNorms) {
  Model model;
  auto [g, info] = run(ClipByGlobalNorm{.clip_norm = 6.5}, model, model.gradients());
  EXPECT_DOUBLE_EQ(g.scale, 0.5);
  EXPECT_EQ(g.dense<float>(0)[0], 3);  // the numbers stay
  EXPECT_EQ(numbers(g.get(0)), (std::vector<double>{1.5, 2}));
  EXPECT_EQ(g.kind(1), Gradients::Kind::absent);
  ASSERT_EQ(g.kind(2), Gradients::Kind::sparse);
  EXPECT_EQ(dense(g.get(2)), (std::vector<double>{0, 6, 0}));
  EXPECT_TRUE(info.measured);
  EXPECT_DOUBLE_EQ(info.norm, kNorm);
  EXPECT_DOUBLE_EQ(info.clipped_norm, 6.5);
  EXPECT_DOUBLE_EQ(info.scale, 0.5);
  EXPECT_TRUE(info.clipped);
  EXPECT_TRUE(info.finite);
  EXPECT_FALSE(info.skip);
}

TEST(ClipByGlobalNormTransform, DoesNothingBelowTheLimit) {
  Model model;
  for (double limit : {13.0, 14.0, kInf}) {
    auto [g, info] = run(ClipByGlobalNorm{.clip_norm = limit}, model, model.gradients());
    EXPECT_EQ(g.scale, 1);
    EXPECT_FALSE(info.clipped);
    EXPECT_DOUBLE_EQ(info.norm, kNorm);
    EXPECT_EQ(info.clipped_norm, info.norm);
  }
}

TEST(ClipByGlobalNormTransform, AgreesWithTheFunctionToTheBit) {
  Variables vars;
  const auto a = noise(40000, 1), b = noise(100, 2);
  add_variable(vars, "a", {40000}, a);
  add_variable(vars, "b", {100}, b);
  Gradients g(vars);
  const Gradient list[] = {vector(a), vector(b)};
  for (size_t i = 0; i < 2; ++i) g.set(i, list[i]);
  const auto expected = clip_by_global_norm(list, 0.7);
  const ClipByGlobalNorm clip{.clip_norm = 0.7};
  auto state = clip.init(vars);
  StepInfo info;
  clip.update(g, state, vars, info);
  EXPECT_EQ(info.norm, expected.norm);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(numbers(g.get(i)), numbers(expected.gradients[i])) << i;
}

TEST(ClipByGlobalNormTransform, NamesTheFirstVariableThatIsNotFinite) {
  for (double bad : {kNaN, kInf}) {
    Model model;
    auto [g, info] =
        run(ClipByGlobalNorm{.clip_norm = 1}, model, model.gradients({3, bad}, {bad, 0, 0}));
    EXPECT_FALSE(info.finite);
    EXPECT_EQ(info.non_finite, "a");
    EXPECT_FALSE(std::isfinite(info.norm));
    EXPECT_FALSE(info.clipped);
    EXPECT_EQ(g.scale, 1);  // 3 is not lost
    auto [h, second] =
        run(ClipByGlobalNorm{.clip_norm = 1}, model, model.gradients({3, 4}, {0, bad, 0}));
    EXPECT_EQ(second.non_finite, "c");
  }
}

TEST(ClipByGlobalNormTransform, LargeAndTinyNumbers) {
  for (double size : {1e20, 1e-25}) {
    Model model;
    auto [g, info] = run(ClipByGlobalNorm{.clip_norm = size}, model,
                         model.gradients({3 * size, 4 * size}, {0, 0, 12 * size}));
    EXPECT_NEAR(info.norm / size, 13, 1e-6);
    expect_near(numbers(g.get(0)), {3 * size / 13, 4 * size / 13});
    expect_near(dense(g.get(2)), {0, 12 * size / 13, 0});
  }
}

TEST(ClipByGlobalNormTransform, AsTensorFlow) {
  Model model;
  auto [g, info] = run(ClipByGlobalNorm{.clip_norm = 1, .semantics = Semantics::tensorflow}, model,
                       model.gradients({3, 4}, {5, 0, 7}));
  const double norm = norm_of({3, 4, 5, 7});  // repeated rows are not added up
  EXPECT_NEAR(info.norm, norm, 1e-6);
  expect_near(numbers(g.get(0)), {3 / norm, 4 / norm});
  auto [h, broken] = run(ClipByGlobalNorm{.clip_norm = 1, .semantics = Semantics::tensorflow},
                         model, model.gradients({3e20, 4}));
  EXPECT_TRUE(std::isnan(numbers(h.get(0))[1]));
}

TEST(ClipByNormTransform, EachVariableByItsOwnNorm) {
  Model model;
  auto [g, info] = run(ClipByNorm{.clip_norm = 6}, model, model.gradients());
  expect_near(dense(g.get(0)), {3, 4});     // 5 is within
  expect_near(dense(g.get(2)), {0, 6, 0});  // 12 is not
  EXPECT_DOUBLE_EQ(info.norm, kNorm);
  EXPECT_NEAR(info.clipped_norm, norm_of({5, 6}), 1e-12);
  EXPECT_TRUE(info.clipped);
  auto [same, idle] = run(ClipByNorm{.clip_norm = 12}, model, model.gradients());
  EXPECT_FALSE(idle.clipped);
  EXPECT_EQ(idle.clipped_norm, idle.norm);
}

TEST(ClipByNormTransform, OneBadVariableDoesNotStopTheOthers) {
  Model model;
  auto [g, info] = run(ClipByNorm{.clip_norm = 6}, model, model.gradients({kInf, 4}));
  EXPECT_EQ(numbers(g.get(0)), (std::vector<double>{kInf, 4}));
  expect_near(dense(g.get(2)), {0, 6, 0});
  EXPECT_EQ(info.non_finite, "a");
  EXPECT_EQ(info.clipped_norm, kInf);
}

TEST(ClipByNormTransform, AsTensorFlow) {
  Model model;
  auto [g, info] = run(ClipByNorm{.clip_norm = 6, .semantics = Semantics::tensorflow}, model,
                       model.gradients({3, kInf}));
  EXPECT_EQ(numbers(g.get(0))[0], 0);
  EXPECT_TRUE(std::isnan(numbers(g.get(0))[1]));
  expect_near(dense(g.get(2)), {0, 12 * 6 / norm_of({5, 7}), 0});
}

TEST(ClipByNormTransform, OverAxesTakesMoreRowsThanTheVariableHas) {
  constexpr int64_t kRows = 100;
  std::vector<int64_t> indices;
  for (int64_t k = 0; k < kRows; ++k) indices.push_back(k % 6);
  const Gradient g = rows(indices, {6, 4}, noise(static_cast<size_t>(kRows) * 4));
  for (Semantics semantics : {Semantics::safe, Semantics::tensorflow, Semantics::keras,
                              Semantics::pytorch, Semantics::optax})
    for (int axis : {0, 1}) {
      Variables vars;
      for (const char* name : {"a", "b", "c"})  // the second is beside others
        add_variable(vars, name, {6, 4}, std::vector<double>(24));
      Gradients all(vars);
      for (size_t i = 0; i < 3; ++i) all.set(i, g);
      const ClipByNorm clip{.clip_norm = 0.7, .axes = {axis}, .semantics = semantics};
      auto state = clip.init(vars);
      StepInfo info;
      clip.update(all, state, vars, info);
      const Gradient want = clip_by_norm(g, 0.7, {.axes = {axis}, .semantics = semantics});
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(numbers(all.get(i)), numbers(want)) << axis;
      EXPECT_GT(info.norm, info.clipped_norm);
    }
}

TEST(ClipByAverageNormTransform, TheLimitGrowsWithTheSize) {
  Model model;
  auto [g, info] = run(ClipByAverageNorm{.clip_norm = 2}, model, model.gradients());
  expect_near(dense(g.get(0)), {2.4, 3.2});  // 5 / 2 > 2
  expect_near(dense(g.get(2)), {0, 6, 0});   // 12 / 3 > 2
  EXPECT_DOUBLE_EQ(info.norm, kNorm);
  EXPECT_NEAR(info.clipped_norm, norm_of({4, 6}), 1e-12);
  EXPECT_TRUE(info.clipped);
}

TEST(ClipByAverageNormTransform, AsTensorFlow) {
  Model model;
  auto [g, info] = run(ClipByAverageNorm{.clip_norm = 2, .semantics = Semantics::tensorflow}, model,
                       model.gradients());
  expect_near(dense(g.get(0)), {2.4, 3.2});
  expect_near(dense(g.get(2)), {0, 6, 0});  // repeated rows are added up here, as in TensorFlow
}

TEST(ClipByValueTransform, LimitsElementsOfMergedRows) {
  Model model;
  auto [g, info] = run(ClipByValue{-1, 3.5}, model, model.gradients({3, 4}, {5, -2, 7}));
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{3, 3.5}));
  EXPECT_EQ(dense(g.get(2)), (std::vector<double>{-1, 3.5, 0}));
  EXPECT_DOUBLE_EQ(info.norm, norm_of({3, 4, 12, 2}));
  EXPECT_DOUBLE_EQ(info.clipped_norm, norm_of({3, 3.5, 3.5, 1}));
  EXPECT_TRUE(info.clipped);
  auto [same, idle] = run(ClipByValue{-20, 20}, model, model.gradients());
  EXPECT_FALSE(idle.clipped);
  EXPECT_EQ(idle.clipped_norm, idle.norm);
}

TEST(ClipByValueTransform, TellsWhatWasNotFiniteThoughItIsNow) {
  Model model;
  auto [g, info] = run(ClipByValue{-1, 1}, model, model.gradients({kInf, 0}));
  EXPECT_EQ(info.non_finite, "a");
  EXPECT_EQ(info.norm, kInf);
  EXPECT_EQ(numbers(g.get(0)), (std::vector<double>{1, 0}));
  EXPECT_TRUE(std::isfinite(info.clipped_norm));
}

TEST(ClipByValueTransform, AsTensorFlow) {
  Model model;
  auto [g, info] = run(ClipByValue{-1, 6, Semantics::tensorflow}, model, model.gradients());
  EXPECT_EQ(dense(g.get(2)), (std::vector<double>{0, 11, 0}));  // 5 and 6, added up afterwards
  auto [h, other] = run(ClipByValue{-1, kNaN, Semantics::tensorflow}, model, model.gradients());
  EXPECT_TRUE(std::isnan(numbers(h.get(0))[0]));
}

TEST(MeasureNormTransform, ChangesNothing) {
  Model model;
  auto [g, info] = run(MeasureNorm{}, model, model.gradients());
  EXPECT_DOUBLE_EQ(info.norm, kNorm);
  EXPECT_DOUBLE_EQ(info.clipped_norm, kNorm);
  EXPECT_FALSE(info.clipped);
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{3, 4}));
  EXPECT_EQ(dense(g.get(2)), (std::vector<double>{0, 12, 0}));
}

// ---------------------------------------------------------------- one after the other

TEST(Chain, AClipByValueAfterAClipByNormSeesTheScaledNumbers) {
  Model model;
  auto [g, info] = run(chain(ClipByGlobalNorm{.clip_norm = 6.5}, ClipByValue{-1.75, 1.75}), model,
                       model.gradients());
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{1.5, 1.75}));
  EXPECT_EQ(dense(g.get(2)), (std::vector<double>{0, 1.75, 0}));
  EXPECT_DOUBLE_EQ(info.norm, kNorm);  // before the first
  EXPECT_DOUBLE_EQ(info.clipped_norm, norm_of({1.5, 1.75, 1.75}));
}

TEST(Chain, EveryClipCountsWhatIsPending) {
  Model model;
  const ClipByGlobalNorm half{.clip_norm = 6.5};
  auto [g, info] = run(chain(half, ClipByGlobalNorm{.clip_norm = 3.25}), model, model.gradients());
  expect_near(dense(g.get(0)), {0.75, 1});
  EXPECT_DOUBLE_EQ(info.scale, 0.25);
  auto each = run(chain(half, ClipByNorm{.clip_norm = 4}), model, model.gradients());
  expect_near(dense(each.gradients.get(0)), {1.5, 2});
  expect_near(dense(each.gradients.get(2)), {0, 4, 0});
  EXPECT_NEAR(each.info.clipped_norm, norm_of({2.5, 4}), 1e-12);
  auto average = run(chain(half, ClipByAverageNorm{.clip_norm = 1}), model, model.gradients());
  expect_near(dense(average.gradients.get(0)), {1.2, 1.6});
  for (const Semantics semantics : {Semantics::safe, Semantics::tensorflow}) {
    auto last = run(chain(half, ClipByGlobalNorm{.clip_norm = 1, .semantics = semantics}), model,
                    model.gradients({3, 4}, {0, 0, 12}));
    expect_near(dense(last.gradients.get(0)), {3 / kNorm, 4 / kNorm});
  }
  auto measured = run(chain(half, MeasureNorm{}), model, model.gradients());
  EXPECT_DOUBLE_EQ(measured.info.norm, kNorm);
  EXPECT_DOUBLE_EQ(measured.info.clipped_norm, 6.5);
}

TEST(Chain, WithNothingInItChangesNothing) {
  Model model;
  auto [g, info] = run(chain(), model, model.gradients());
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{3, 4}));
  EXPECT_FALSE(info.measured);
}

TEST(Chain, StopsWhenOneAsksToSkip) {
  Model model;
  int after = 0;
  auto [g, info] = run(chain([](Gradients&, const Variables&, StepInfo& i) { i.skip = true; },
                             [&](Gradients&, const Variables&, StepInfo&) { ++after; }),
                       model, model.gradients());
  EXPECT_TRUE(info.skip);
  EXPECT_EQ(after, 0);
}

// ---------------------------------------------------------------- functions of the user's

TEST(UserFunction, OnAllGradientsInTheOrderOfTheChain) {
  Model model;
  std::vector<std::string> calls;
  auto times = [&](const char* name, double factor) {
    return [&calls, name, factor](Gradients& g, const Variables& vars, StepInfo&) {
      calls.emplace_back(name);
      EXPECT_EQ(vars.size(), 3u);
      g.scale *= factor;
    };
  };
  auto [g, info] =
      run(chain(times("first", 2), ClipByGlobalNorm{.clip_norm = 13}, times("last", 3)), model,
          model.gradients());
  EXPECT_EQ(calls, (std::vector<std::string>{"first", "last"}));
  expect_near(dense(g.get(0)), {9, 12});  // doubled, clipped back to 13, tripled
}

TEST(UserFunction, OnOneGradientAtATime) {
  Model model;
  int count = 0;
  const auto flip = [&](const Gradient& g, const std::string& variable) -> Gradient {
    ++count;
    EXPECT_NE(variable, "b");
    if (variable == "c") return {};
    Tensor t = g.values().clone();
    for (float& v : t.flat<float>()) v = -v;
    return t;
  };
  auto [g, info] = run(chain(ClipByGlobalNorm{.clip_norm = 6.5}, flip), model, model.gradients());
  EXPECT_EQ(count, 2);
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{-1.5, -2}));  // it saw the scaled numbers
  EXPECT_EQ(g.scale, 1);
  EXPECT_EQ(g.kind(1), Gradients::Kind::absent);
  EXPECT_EQ(g.kind(2), Gradients::Kind::absent);
}

TEST(UserFunction, AGradientOfAnotherShapeIsRefusedBeforeAnythingChanges) {
  Model model;
  const AnyTransform wrong = [](const Gradient&, const std::string& variable) -> Gradient {
    return variable == "c" ? vector({1, 2}) : vector({7, 7});
  };
  auto state = wrong.init(model.vars);
  Gradients g = model.gradients();
  StepInfo info;
  try {
    wrong.update(g, state, model.vars, info);
    FAIL();
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("'c'"), std::string::npos) << e.what();
  }
  EXPECT_EQ(dense(g.get(0)), (std::vector<double>{3, 4}));
}

/// A transform with a state: the mean of the gradients of two steps, every second step.
struct EverySecond {
  struct State {
    int count = 0;
    std::vector<Gradient> kept;
  };
  State init(const Variables&) const { return {}; }
  void update(Gradients& g, State& state, const Variables&, StepInfo& info) const {
    if (state.count++ % 2 == 0) {
      state.kept = {g.get(0)};
      info.skip = true;
      return;
    }
    for (size_t i = 0; i < 2; ++i)
      g.dense<float>(0)[i] = (g.dense<float>(0)[i] + state.kept[0].values().flat<float>()[i]) / 2;
  }
};
static_assert(Transform<EverySecond>);

TEST(UserTransform, KeepsItsStateOutsideItself) {
  Model model;
  const AnyTransform transform = chain(EverySecond{});
  auto one = transform.init(model.vars), other = transform.init(model.vars);
  Gradients first = model.gradients({1, 1}), second = model.gradients({3, 5});
  StepInfo info;
  transform.update(first, one, model.vars, info);
  EXPECT_TRUE(info.skip);
  info = {};
  transform.update(second, one, model.vars, info);
  EXPECT_FALSE(info.skip);
  EXPECT_EQ(dense(second.get(0)), (std::vector<double>{2, 3}));
  info = {};
  transform.update(first, other, model.vars, info);
  EXPECT_TRUE(info.skip);  // the other state is at its beginning
}

// ---------------------------------------------------------------- settings, threads, types

TEST(ClipTransforms, RefuseSettingsThatMakeNoSense) {
  Model model;
  for (double bad : {-1.0, kNaN}) {
    EXPECT_THROW((void)ClipByGlobalNorm{.clip_norm = bad}.init(model.vars), InvalidArgument);
    EXPECT_THROW((void)ClipByNorm{.clip_norm = bad}.init(model.vars), InvalidArgument);
    EXPECT_THROW((void)ClipByAverageNorm{.clip_norm = bad}.init(model.vars), InvalidArgument);
  }
  EXPECT_THROW((void)(ClipByValue{1, -1}).init(model.vars), InvalidArgument);
  EXPECT_THROW((void)(ClipByValue{kNaN, 1}).init(model.vars), InvalidArgument);
  try {
    (void)ClipByGlobalNorm{.clip_norm = -2}.init(model.vars);
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("ClipByGlobalNorm: clip_norm is -2"), std::string::npos)
        << e.what();
  }
}

TEST(ClipTransforms, SameBitsForAnyNumberOfThreads) {
  Variables vars;
  const size_t sizes[] = {40000, 3, 16384, 16385, 1};
  for (size_t n : sizes)
    add_variable(vars, std::to_string(n), {static_cast<int64_t>(n)}, noise(n, n));
  const AnyTransform transforms[] = {
      chain(ClipByGlobalNorm{.clip_norm = 1.3}), chain(ClipByNorm{.clip_norm = 1.3}),
      chain(ClipByAverageNorm{.clip_norm = 1e-4}),
      chain(ClipByGlobalNorm{.clip_norm = 50}, ClipByValue{-.1, .1})};
  for (const AnyTransform& transform : transforms) {
    std::vector<std::vector<double>> first;
    for (int threads : {1, 2, 3}) {
      ThreadTeam team(threads);
      Gradients g(vars);
      for (size_t i = 0; i < vars.size(); ++i) g.set(i, vars[i].read());
      g.team = &team;
      auto state = transform.init(vars);
      StepInfo info;
      transform.update(g, state, vars, info);
      std::vector<std::vector<double>> got{{info.norm, info.clipped_norm, info.scale}};
      for (size_t i = 0; i < vars.size(); ++i) got.push_back(numbers(g.get(i)));
      if (threads == 1) first = got;
      EXPECT_EQ(got, first) << threads;
    }
  }
}

TEST(ClipTransforms, PaddingIsNotPartOfANorm) {
  Model model;
  Gradients g = model.gradients();
  auto* padding = g.dense<float>(0).data() + 2;  // behind the two elements of a
  for (size_t i = 0; i < 14; ++i) padding[i] = 1e30f;
  auto [clipped, info] =
      run(chain(ClipByGlobalNorm{.clip_norm = 1}, ClipByValue{-9, 9}), model, std::move(g));
  EXPECT_DOUBLE_EQ(info.norm, kNorm);
}

TEST(ClipTransforms, InDouble) {
  Model model(DType::float64);
  auto [g, info] =
      run(ClipByGlobalNorm{.clip_norm = 1}, model, model.gradients({3e200, 4e200}, {0, 0, 12e200}));
  EXPECT_NEAR(info.norm / 13e200, 1, 1e-15);
  EXPECT_NEAR(numbers(g.get(0))[0], 3.0 / 13, 1e-15);
  EXPECT_TRUE(info.finite);
  auto [h, value] = run(ClipByValue{-1, 1}, model, model.gradients({3e200, 0.5}));
  EXPECT_EQ(numbers(h.get(0)), (std::vector<double>{1, 0.5}));
  EXPECT_NEAR(value.norm / 3e200, 1, 1e-15);
}

}  // namespace
}  // namespace rein
