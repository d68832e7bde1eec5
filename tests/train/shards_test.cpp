// Steps of variables of which each rank holds a part: as one rank that has all of them; what knows
// nothing of parts is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "process/numbers.h"
#include "rein/rein.h"
#include "support/error_text.h"

namespace rein {
namespace {

using test::error_of;

constexpr int64_t kRows = 6, kColumns = 3, kNobody = -1;
constexpr int kSteps = 6;

// A matrix "w", of which each rank has some rows, and "b", of which all have a copy. Their
// gradients are inputs, and the loss is one for all.
struct Model {
  explicit Model(Communicator& ranks)
      : rows(kRows / ranks.size()), first(ranks.rank() * rows), vars({}, DType::float64) {
    w = add_variable(vars, "w", {rows, kColumns}, numbers(part(noise(kRows * kColumns, 90))));
    b = add_variable(vars, "b", {2}, {0.5, -0.5});
  }
  Tensor part(const std::vector<double>& all) const {
    const auto begin = all.begin() + first * kColumns;
    return tensor({rows, kColumns}, {begin, begin + rows * kColumns}, DType::float64);
  }
  auto cost() const {
    return [this](Value loss, Value dw, Value db) {
      return straight_through(loss, reduce_sum(dw * w) + reduce_sum(db * b));
    };
  }
  int64_t rows, first;
  Variables vars;
  Variable w, b;
};

struct Outcome {
  std::vector<double> w, b, norms;
  std::vector<bool> skipped, rolled_back;
  double loss_scale = 0;
};

// The last number of `w` is not finite in step `bad`.
Outcome train(Communicator& ranks, AnyTransform process, AnyRule rule, const StepOptions& options,
              int64_t bad) {
  Model model(ranks);
  Step step = record(model.cost(), model.vars, std::move(process), std::move(rule), options);
  Outcome out;
  for (int t = 0; t < kSteps; ++t) {
    std::vector<double> gradient = noise(kRows * kColumns, static_cast<uint64_t>(t));
    for (double& g : gradient) g *= 1 + t % 3;
    if (t == bad) gradient.back() = std::numeric_limits<double>::infinity();
    const StepInfo info = step(Tensor::scalar(1.0), model.part(gradient),
                               vector(noise(2, 50 + static_cast<uint64_t>(t)), DType::float64));
    out.norms.push_back(info.norm);
    out.skipped.push_back(info.skip);
    out.rolled_back.push_back(info.rolled_back);
  }
  out.w = numbers(model.w.read());
  out.b = numbers(model.b.read());
  out.loss_scale = step.loss_scale();
  return out;
}

using MakeTransform = std::function<AnyTransform(std::optional<Shards>)>;
using MakeRule = std::function<AnyRule(std::optional<Shards>)>;

// Ranks with parts end as the one with all of it, which is returned.
Outcome compare(const MakeTransform& process, const MakeRule& rule, const StepOptions& options = {},
                int64_t bad = kNobody) {
  Serial alone;
  const Outcome want = train(alone, process(std::nullopt), rule(std::nullopt), options, bad);
  for (const int size : {2, 3}) {
    std::vector<Outcome> parts(static_cast<size_t>(size));
    run_ranks(size, [&](Communicator& ranks) {
      const Shards shards{&ranks, {"w"}};
      parts[static_cast<size_t>(ranks.rank())] =
          train(ranks, process(shards), rule(shards), options, bad);
    });
    std::vector<double> w;
    for (const Outcome& part : parts) {
      w.insert(w.end(), part.w.begin(), part.w.end());
      EXPECT_EQ(part.b, parts[0].b);
      EXPECT_EQ(part.skipped, want.skipped);
      EXPECT_EQ(part.rolled_back, want.rolled_back);
      EXPECT_EQ(part.loss_scale, want.loss_scale);
      for (size_t t = 0; t < kSteps; ++t)
        if (static_cast<int64_t>(t) != bad) {
          EXPECT_NEAR(part.norms[t], want.norms[t], 1e-14 * want.norms[t]);
        }
    }
    // The sums of each part are rounded once more.
    for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(w[i], want.w[i], 1e-13) << i;
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(parts[0].b[i], want.b[i], 1e-13);
  }
  return want;
}

AnyRule descent(const std::optional<Shards>&) { return GradientDescent{.learning_rate = 0.1}; }
AnyTransform measure(std::optional<Shards> s) { return MeasureNorm{.shards = std::move(s)}; }

TEST(StepOfParts, ClipsAsTheWhole) {
  using S = std::optional<Shards>;
  const std::pair<const char*, MakeTransform> clips[] = {
      {"CheckFinite", [](S s) { return CheckFinite{.skip_above = 8, .shards = s}; }},
      {"ClipByGlobalNorm", [](S s) { return ClipByGlobalNorm{.clip_norm = 2, .shards = s}; }},
      {"ClipByNorm", [](S s) { return ClipByNorm{.clip_norm = 2, .shards = s}; }},
      {"ClipByAverageNorm", [](S s) { return ClipByAverageNorm{.clip_norm = 0.2, .shards = s}; }},
      {"ClipByBlockRms", [](S s) { return ClipByBlockRms{.threshold = 0.8, .shards = s}; }},
      {"only", [](S s) { return chain(measure(s), only("w", ClipByBlockRms{.threshold = 0.8})); }},
      {"MaxChange", [](S s) { return MaxChange{.per_variable = 3, .global = 3, .shards = s}; }},
      {"Normalize", [](S s) { return Normalize{.norm = 2, .shards = s}; }},
      {"Normalize each",
       [](S s) { return Normalize{.norm = 2, .per_variable = true, .shards = s}; }},
      {"AutoClip", [](S s) { return AutoClip{.percentile = 10, .window = 3, .shards = s}; }},
      {"ZClip",
       [](S s) { return ZClip{.alpha = 0.5, .z_threshold = 0, .warmup = 2, .shards = s}; }},
      {"AdaptiveClipping", [](S s) { return AdaptiveClipping{.std_factor = 0.1, .shards = s}; }},
      {"AdaGC", [](S s) { return AdaGC{.lambda_abs = 2, .warmup = 3, .shards = s}; }},
      {"except", [](S s) { return chain(measure(s), except("w", ClipByNorm{.clip_norm = 0.1})); }},
      {"by value",
       [](S s) {
         return chain(measure(s), ClipByValue{-0.5, 0.5});
       }},
      {"in a Monitor",
       [](S s) { return Monitor().around(ClipByGlobalNorm{.clip_norm = 2, .shards = s}); }},
      {"several, of which one names the shards", [](S s) {
         return chain(CheckFinite{.shards = s}, ClipByValue{-2, 2}, AutoClip{.window = 3},
                      ClipSpikes{.theta = 1.5, .beta2 = 0.5}, ClipByGlobalNorm{.clip_norm = 1});
       }}};
  const Outcome bare = compare(measure, descent);
  for (const auto& [name, clip] : clips) {
    SCOPED_TRACE(name);
    const Outcome clipped = compare(clip, descent);
    EXPECT_FALSE(clipped.w == bare.w && clipped.b == bare.b);
  }
}

TEST(StepOfParts, ClipsUpdatesAsTheWhole) {
  const auto rule = [](std::optional<Shards> s) {
    return ClipUpdates{.rule = Adam{.learning_rate = 0.1},
                       .clip = ClipByGlobalNorm{.clip_norm = 0.2, .shards = std::move(s)}};
  };
  const auto adam = [](const std::optional<Shards>&) { return Adam{.learning_rate = 0.1}; };
  EXPECT_NE(compare(measure, rule).w, compare(measure, adam).w);
}

// One rank alone sees the number that is not finite.
TEST(StepOfParts, SkipsScalesAndGoesBackAsTheWhole) {
  const auto clip = [](std::optional<Shards> s) {
    return ClipByGlobalNorm{.clip_norm = 2, .shards = std::move(s)};
  };
  const auto zeroing = [](std::optional<Shards> s) {
    return CheckFinite{.policy = NonFinite::zero, .shards = std::move(s)};
  };
  const LossScale scale{.initial = 64, .growth_interval = 2};
  const Outcome scaled = compare(clip, descent, {.loss_scale = scale}, 3);
  EXPECT_TRUE(scaled.skipped[3] && !scaled.skipped[2]);
  EXPECT_EQ(scaled.loss_scale, 64 * 2 / 2 * 2);
  EXPECT_FALSE(compare(zeroing, descent, {.loss_scale = scale}, 1).skipped[1]);  // it is proven
  EXPECT_TRUE(compare(zeroing, descent, {.loss_scale = scale}, 0).skipped[0]);
  EXPECT_TRUE(compare(clip, descent, {.rollback = Rollback{.most_bad = 0}}, 3).rolled_back[3]);
  const auto of_updates = [](std::optional<Shards> s) {
    return ClipUpdates{.rule = Adam{}, .clip = MaxChange{.global = 0.1, .shards = std::move(s)}};
  };
  const auto nothing = [](const std::optional<Shards>&) { return chain(); };
  EXPECT_TRUE(
      compare(nothing, of_updates, {.rollback = Rollback{.most_bad = 0}}, 3).rolled_back[3]);
}

// A rank that is alone in the end.
struct Left final : Communicator {
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(std::span<float>) override { answer(); }
  void all_reduce(std::span<double>) override { answer(); }
  void broadcast(std::span<std::byte>, int) override { answer(); }
  void answer() {
    if (answers-- == 0) throw RankError("left");
  }
  int answers = 1000;
};

TEST(StepOfParts, WhenTheOthersLeaveBeforeTheUpdatesAreClippedNothingHasHappened) {
  Left ranks;
  Model model(ranks);
  const CheckFinite check{.shards = Shards{&ranks, {"w"}}};
  Step step = record(model.cost(), model.vars, check,
                     ClipUpdates{.rule = Adam{}, .clip = ClipByGlobalNorm{.clip_norm = 0.1}});
  const auto run = [&] {
    step(Tensor::scalar(1.0), model.part(noise(kRows * kColumns)), vector({1, 2}, DType::float64));
  };
  const auto rule = [&] {
    std::vector<double> all;
    for (const auto& [name, value] : step.state()) {
      if (const Tensor* t = std::get_if<Tensor>(&value); t && name.starts_with("rule")) {
        const auto more = numbers(*t);
        all.insert(all.end(), more.begin(), more.end());
      }
    }
    return all;
  };
  run();
  const auto before = rule();
  ranks.answers = 1;  // to the check
  EXPECT_THROW(run(), RankError);
  EXPECT_EQ(rule(), before);
  ranks.answers = 1000;
  run();
  EXPECT_NE(rule(), before);
}

TEST(StepOfParts, WhatKnowsNothingOfThemIsRefusedAtOnce) {
  Serial alone, other;
  Model model(alone);
  const CheckFinite check{.shards = Shards{&alone, {"w"}}};
  const auto text = [&](const AnyTransform& process, const AnyRule& rule,
                        StepOptions options = {}) {
    return error_of([&] { record(model.cost(), model.vars, process, rule, options); });
  };
  EXPECT_EQ(text(check, Adam{}), "nothing thrown");
  EXPECT_EQ(text(check, Adam{}, {.communicator = &other}), "nothing thrown");
  EXPECT_EQ(text(check, Adam{}, {.communicator = &alone}),
            "record: the communicator of the step has copies on its ranks, that of shards parts; "
            "take two");
  EXPECT_EQ(text(check, Adam{}, {.per_example = PerExample{}}),
            "record: per_example takes the norm of each example from what this rank holds; it "
            "knows no shards");
  EXPECT_EQ(text(check, Adam{}, {.sharpness = Sharpness{}}),
            "record: sharpness takes the norm of the gradient from what this rank holds; it knows "
            "no shards");
  EXPECT_EQ(text(chain(check, ClipByNorm{.shards = Shards{&other, {"w"}}}), Adam{}),
            "record: shards are of several communicators; name one, that of all parts");
  EXPECT_EQ(text(check, Lamb{}),
            "record: Lamb: it moves 'w' as a whole, of which this rank holds a part, as shards "
            "say; take a rule of single numbers for it (RuleGroups)");
  EXPECT_EQ(text(check, RuleGroups{.groups = {{"b", Lamb{}}}, .otherwise = Adam{}}),
            "nothing thrown");
  EXPECT_NE(text(Monitor().around(check), Lamb{}), "nothing thrown");
}

TEST(StepOfParts, ClipsThatWouldTakeAPartForTheWholeAreRefusedBeforeAnythingChanges) {
  const AnyTransform clips[] = {ClipByGlobalNorm{.semantics = Semantics::pytorch},
                                ClipByNorm{.semantics = Semantics::tensorflow},
                                ClipByNorm{.axes = {0}},
                                ClipByAverageNorm{.semantics = Semantics::tensorflow},
                                ClipByBlockRms{.semantics = Semantics::optax},
                                AdaptiveGradClip{},
                                Centralize{},
                                AddNoise{},
                                only("w", Centralize{})};
  for (const AnyTransform& clip : clips) {
    SCOPED_TRACE(to_string(settings_of(clip)));
    run_ranks(2, [&](Communicator& ranks) {
      Model model(ranks);
      Step step = record(model.cost(), model.vars,
                         chain(CheckFinite{.shards = Shards{&ranks, {"w"}}}, clip), Adam{});
      const std::vector<double> before = numbers(model.w.read());
      const std::string text = error_of([&] {
        step(Tensor::scalar(1.0), model.part(noise(kRows * kColumns)), Tensor({2}, DType::float64));
      });
      EXPECT_NE(text.find("this rank holds a part of 'w', as shards of the step say"),
                std::string::npos)
          << text;
      EXPECT_EQ(numbers(model.w.read()), before);
      EXPECT_EQ(step.step(), 0);
    });
  }
}

}  // namespace
}  // namespace rein
