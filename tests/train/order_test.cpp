// The order of a step: accumulate, unscale, check, clip, rule.
#include <gtest/gtest.h>

#include <limits>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

using test::error_of;

constexpr float kInf = std::numeric_limits<float>::infinity();

// Rows [from, to) of the model's batch, and one of its ids.
struct Part {
  Tensor x, y, ids;
};
Part part(const SmallModel& m, int64_t from, int64_t to, int64_t id) {
  return {m.x.piece(from * 3, {to - from, 3}), m.y.piece(from * 2, {to - from, 2}),
          m.ids.piece(id, {1})};
}

TEST(Accumulate, TheMeanOfMicroBatchesIsTheStepOfTheirMeanLoss) {
  SmallModel parts(DType::float64), whole(DType::float64);
  const Part a = part(parts, 0, 2, 0), b = part(parts, 2, 4, 1), c = part(parts, 1, 3, 2);
  Step train = record(parts.cost(), parts.vars, chain(ClipByGlobalNorm{.clip_norm = 0.01}), Adam{});
  const auto mean = [&](Value xa, Value ya, Value ia, Value xb, Value yb, Value ib) {
    return (whole.loss(xa, ya, ia) + whole.loss(xb, yb, ib)) / 2.0;
  };
  Step at_once = record(mean, whole.vars, chain(ClipByGlobalNorm{.clip_norm = 0.01}), Adam{});
  for (int i = 0; i < 3; ++i) {
    const Part& second = i % 2 ? b : c;
    train.accumulate(a.x, a.y, a.ids);
    const StepInfo info = train(second.x, second.y, second.ids);
    const StepInfo want = at_once(a.x, a.y, a.ids, second.x, second.y, second.ids);
    EXPECT_EQ(info.step, i + 1);
    EXPECT_EQ(info.micro_batches, 2);
    EXPECT_NEAR(info.loss, want.loss, 1e-12);
    EXPECT_NEAR(info.norm, want.norm, 1e-12 * want.norm);
    EXPECT_TRUE(info.clipped);
    EXPECT_NEAR(info.clipped_norm, 0.01, 1e-15);  // once, after the mean
  }
  const auto got = parts.weights(), want = whole.weights();
  for (size_t i = 0; i < got.size(); ++i)
    for (size_t k = 0; k < got[i].size(); ++k) EXPECT_NEAR(got[i][k], want[i][k], 1e-12);
}

TEST(Accumulate, NothingIsLeftOver) {
  SmallModel one, other;
  Step accumulating = record(one.cost(), one.vars, chain(MeasureNorm{}), GradientDescent{});
  Step plain = record(other.cost(), other.vars, chain(MeasureNorm{}), GradientDescent{});
  accumulating.accumulate(one.x, one.y, one.ids);
  accumulating.accumulate(one.x, one.y, one.ids);
  EXPECT_EQ(one.weights(), other.weights());  // no step yet
  EXPECT_EQ(accumulating.step(), 0);
  EXPECT_EQ(accumulating(one.x, one.y, one.ids).micro_batches, 3);
  other.vars.assign(other.w, one.w.read());
  other.vars.assign(other.b, one.b.read());
  other.vars.assign(other.e, one.e.read());
  plain(other.x, other.y, other.ids);
  EXPECT_EQ(accumulating(one.x, one.y, one.ids).micro_batches, 1);
  EXPECT_EQ(one.weights(), other.weights());
}

TEST(Accumulate, RowsStayRowsAndMixedOnesBecomeDense) {
  SmallModel model;
  Gradients sum(model.vars), more(model.vars);
  const auto rows = [&](std::initializer_list<int64_t> indices) {
    const auto n = static_cast<int64_t>(indices.size());
    return IndexedSlices{tensor({n, 2}, std::vector<double>(static_cast<size_t>(2 * n), 1)),
                         Tensor::of<int64_t>({n}, indices),
                         {5, 2}};
  };
  more.set(3, rows({4, 0}));
  sum.add(more);
  sum.add(more);
  ASSERT_EQ(sum.kind(3), Gradients::Kind::sparse);
  EXPECT_EQ(sum.kind(0), Gradients::Kind::absent);
  const std::vector<double> twice{2, 2, 0, 0, 0, 0, 0, 0, 2, 2};
  EXPECT_EQ(numbers(Gradient(to_dense(sum.get(3).sparse()))), twice);
  more.set(3, Tensor({5, 2}));
  more.dense<float>(3)[2] = 7;
  sum.add(more);
  ASSERT_EQ(sum.kind(3), Gradients::Kind::dense);
  EXPECT_EQ(numbers(sum.get(3)), (std::vector<double>{2, 2, 7, 0, 0, 0, 0, 0, 2, 2}));
  more.set(3, rows({1, 1}));
  sum.add(more);
  EXPECT_EQ(numbers(sum.get(3)), (std::vector<double>{2, 2, 9, 2, 0, 0, 0, 0, 2, 2}));
}

// ---------------------------------------------------------------- CheckFinite

template <class F>
std::string non_finite_error(F&& f) {
  try {
    f();
  } catch (const NonFiniteError& error) {
    return error.what();
  }
  return "no error";
}

class Poisoned : public testing::Test {
 protected:
  Poisoned() { bad.flat<float>()[4] = kInf; }
  SmallModel model, healthy;
  Tensor bad = model.x.clone();
};

TEST_F(Poisoned, SkippedStepsChangeNothingAndCountsRest) {
  Step train = record(model.cost(), model.vars, chain(CheckFinite{}, ClipByGlobalNorm{1}), Adam{});
  Step plain = record(healthy.cost(), healthy.vars, chain(ClipByGlobalNorm{1}), Adam{});
  for (int i = 0; i < 3; ++i) {
    const auto before = model.weights();
    const StepInfo info = train(bad, model.y, model.ids);
    EXPECT_TRUE(info.skip);
    EXPECT_FALSE(info.finite);
    EXPECT_EQ(info.non_finite, "w");
    EXPECT_EQ(model.weights(), before);
    EXPECT_FALSE(train(model.x, model.y, model.ids).skip);
    plain(healthy.x, healthy.y, healthy.ids);
    EXPECT_EQ(model.weights(), healthy.weights());  // Adam's count among others
  }
}

TEST_F(Poisoned, ZeroKeepsWhatIsFinite) {
  Step train = record(model.cost(), model.vars, chain(CheckFinite{.policy = NonFinite::zero}),
                      GradientDescent{.learning_rate = 1});
  const auto gradients = model.gradients();  // of the healthy batch: those of `e` are the same
  const auto before = model.weights();
  const StepInfo info = train(bad, model.y, model.ids);
  EXPECT_FALSE(info.skip);
  EXPECT_EQ(info.non_finite, "w");
  const auto after = model.weights();
  for (double v : after[0]) EXPECT_TRUE(std::isfinite(v));
  for (size_t k = 0; k < 10; ++k) EXPECT_NEAR(after[3][k], before[3][k] - gradients[3][k], 1e-6);
}

TEST_F(Poisoned, PropagateIsNoPolicy) {
  Step train = record(model.cost(), model.vars, chain(CheckFinite{.policy = NonFinite::propagate}),
                      GradientDescent{});
  EXPECT_EQ(train(bad, model.y, model.ids).non_finite, "w");
  EXPECT_TRUE(std::isnan(model.weights()[0][0]) || std::isinf(model.weights()[0][0]));
}

TEST_F(Poisoned, StopThrowsBeforeAnythingChanges) {
  Step train =
      record(model.cost(), model.vars, chain(CheckFinite{.policy = NonFinite::stop}), Adam{});
  const auto before = model.weights();
  EXPECT_THROW(train(bad, model.y, model.ids), NonFiniteError);
  EXPECT_EQ(model.weights(), before);
  EXPECT_EQ(train.step(), 0);
  EXPECT_NE(
      non_finite_error([&] { train(bad, model.y, model.ids); }).find("'w' is not finite at step 1"),
      std::string::npos);
  EXPECT_EQ(train(model.x, model.y, model.ids).step, 1);  // and it can go on
}

TEST_F(Poisoned, ALossThatIsNotFiniteIsTooMuchThoughItsGradientsAre) {
  const auto make = [&](CheckFinite check) {
    const auto cost = [&](Value x, Value y, Value ids, Value more) {
      return model.loss(x, y, ids) + more;
    };
    return record(cost, model.vars, chain(check, AutoClip{}), Adam{});
  };
  const auto go = [&](Step& step, double more) {
    return step(model.x, model.y, model.ids, Tensor::scalar(static_cast<float>(more)));
  };
  const auto before = model.weights();
  Step stop = make({.policy = NonFinite::stop});
  const std::string text = non_finite_error([&] { go(stop, kInf); });
  EXPECT_NE(text.find("the loss is not finite, though its gradients are, at step 1 (loss inf); "
                      "nothing was changed"),
            std::string::npos)
      << text;
  EXPECT_EQ(stop.step(), 0);
  Step skip = make({.policy = NonFinite::skip});
  const StepInfo skipped = go(skip, -kInf);
  EXPECT_TRUE(skipped.skip && !skipped.finite && skipped.non_finite.empty());
  EXPECT_EQ(model.weights(), before);
  Step zero = make({.policy = NonFinite::zero});  // there is nothing to zero
  const StepInfo info = go(zero, kInf);
  EXPECT_TRUE(!info.skip && !info.finite);
  EXPECT_NE(model.weights(), before);
}

TEST_F(Poisoned, TooManySkipsInARowEndIt) {
  Step train = record(model.cost(), model.vars, chain(CheckFinite{.most_skips = 2}), Adam{});
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(train(bad, model.y, model.ids).skip);
    EXPECT_FALSE(train(model.x, model.y, model.ids).skip);  // a fine one ends the row
  }
  for (int i = 0; i < 2; ++i) train(bad, model.y, model.ids);
  Step resumed = record(healthy.cost(), healthy.vars, chain(CheckFinite{.most_skips = 2}), Adam{});
  resumed.load_state(train.state());
  for (Step* step : {&train, &resumed})
    EXPECT_NE(non_finite_error([&] {
                (*step)(bad, model.y, model.ids);
              }).find("2 steps before it were skipped"),
              std::string::npos);
}

TEST_F(Poisoned, LargeStepsAreSkippedToo) {
  Step train = record(model.cost(), model.vars, chain(CheckFinite{.skip_above = 1e-6}), Adam{});
  const StepInfo info = train(model.x, model.y, model.ids);
  EXPECT_TRUE(info.skip);
  EXPECT_TRUE(info.finite);
  EXPECT_GT(info.norm, 1e-6);
  EXPECT_EQ(model.weights(), healthy.weights());
}

// ---------------------------------------------------------------- what is forgotten

TEST(Remember, AStepThatIsSkippedOrEndsWithAnErrorIsForgottenByWhatStandsInFront) {
  const auto mostly = [](int64_t before) { return before % 3 != 2; };
  struct Row {
    const char* name;
    AnyTransform transform;
    AnyTransform alone = transform;  // in another step: a monitor watches one
  };
  const Row transforms[] = {
      {"AutoClip", AutoClip{.percentile = 10, .window = 3}},
      {"ZClip", ZClip{.alpha = 0.5, .z_threshold = 0.1, .warmup = 2}},
      {"AdaptiveClipping", AdaptiveClipping{.std_factor = 0, .decay = 0.5}},
      {"AdaGC", AdaGC{.lambda_rel = 0.9, .lambda_abs = 0.5, .beta = 0.5, .warmup = 3}},
      {"ClipSpikes", ClipSpikes{.theta = 0.5, .beta2 = 0.5}},
      {"AddNoise", AddNoise{}},
      {"Conditional", conditionally_transform(Scale{0.5}, mostly)},
      {"in a Conditional", conditionally_transform(AutoClip{}, mostly)},
      {"in Groups", Groups{{{"w", ClipSpikes{.theta = 0.5}}, {"*", AutoClip{}}}}},
      {"in a Chain", chain(chain(AutoClip{}))},
      {"in a Monitor", Monitor{}.around(AutoClip{}), AutoClip{}}};
  for (const auto& [name, transform, alone] : transforms)
    for (const bool throws : {false, true}) {
      SCOPED_TRACE(testing::Message() << name << (throws ? ", an error" : ", skipped"));
      const auto check = [throws](Gradients&, const Variables&, StepInfo& info) {
        info.skip = info.loss > 1e3;
        if (info.skip && throws) throw NonFiniteError("too large");
      };
      SmallModel model, other;
      Step train = record(model.cost(), model.vars, chain(transform, check), Adam{});
      Step plain = record(other.cost(), other.vars, alone, Adam{});
      const Tensor large = tensor({4, 3}, std::vector<double>(12, 1e3));
      const Tensor ids = Tensor::of<int64_t>({3}, {1, 0, 2});
      std::vector<double> thrice = numbers(model.x);
      for (double& v : thrice) v *= 3;
      const Tensor wider = tensor({4, 3}, thrice);
      bool clipped = false;
      const auto remembered = [&] {
        StateDict saved = train.state();
        saved.erase("step");
        return bits(saved);
      };
      for (int k = 0; k < 6; ++k) {
        const std::string before = remembered();
        if (throws)
          EXPECT_THROW(train(large, model.y, ids), NonFiniteError);
        else
          EXPECT_TRUE(train(large, model.y, ids).skip);
        EXPECT_EQ(remembered(), before);
        const Tensor& x = k % 2 ? wider : model.x;
        train(x, model.y, model.ids);
        clipped |= plain(x, model.y, model.ids).clipped;
      }
      EXPECT_EQ(model.weights(), other.weights());
      EXPECT_EQ(clipped,
                name != std::string_view("AddNoise") && name != std::string_view("Conditional"));
    }
}

TEST_F(Poisoned, SettingsThatMakeNoSense) {
  const auto error = [&](CheckFinite c) {
    return error_of([&] { record(model.cost(), model.vars, chain(c), Adam{}); });
  };
  EXPECT_EQ(error({.skip_above = -1}).substr(0, 73),
            "record: CheckFinite: skip_above must be a number from 0 on, got -1");
  EXPECT_NE(error({.most_skips = -1}).find("most_skips"), std::string::npos);
}

// ---------------------------------------------------------------- loss scale

TEST_F(Poisoned, AScaleOfTwoToAPowerChangesNoBit) {
  Step scaled = record(model.cost(), model.vars, chain(ClipByGlobalNorm{.clip_norm = 0.5}), Adam{},
                       {.loss_scale = LossScale{.initial = 1024, .growth_interval = 2}});
  Step plain =
      record(healthy.cost(), healthy.vars, chain(ClipByGlobalNorm{.clip_norm = 0.5}), Adam{});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(scaled.loss_scale(), 1024 << (i / 2));
    const StepInfo a = scaled(model.x, model.y, model.ids);
    const StepInfo b = plain(healthy.x, healthy.y, healthy.ids);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.norm, b.norm);  // thresholds mean gradients without the scale
    EXPECT_EQ(a.clipped_norm, b.clipped_norm);
    EXPECT_EQ(a.loss_scale, 1024 << (i / 2));
    EXPECT_EQ(model.weights(), healthy.weights());
  }
}

TEST_F(Poisoned, OneOverflowSkipsOneStepAndHalvesTheScale) {
  Step train = record(model.cost(), model.vars, chain(), Adam{}, {.loss_scale = LossScale{}});
  train(model.x, model.y, model.ids);
  const auto before = model.weights();
  const StepInfo info = train(bad, model.y, model.ids);
  EXPECT_TRUE(info.skip);
  EXPECT_EQ(info.loss_scale, 65536);
  EXPECT_EQ(train.loss_scale(), 32768);
  EXPECT_EQ(model.weights(), before);
  EXPECT_FALSE(train(model.x, model.y, model.ids).skip);
  EXPECT_EQ(train.loss_scale(), 32768);
}

TEST_F(Poisoned, TheScaleFindsWhatDoesNotOverflow) {
  SmallModel large(DType::float32, 1e35);
  Step train = record(large.cost(), large.vars, chain(ClipByGlobalNorm{1}), GradientDescent{},
                      {.loss_scale = LossScale{.initial = 16777216}});
  int skips = 0;
  while (train(large.x, large.y, large.ids).skip) ASSERT_LT(++skips, 30);
  EXPECT_GT(skips, 5);
  for (const auto& w : large.weights())
    for (double v : w) EXPECT_TRUE(std::isfinite(v));
}

TEST_F(Poisoned, AScaleThatIsNotToBlameLeavesItToThePolicy) {
  const auto make = [&](CheckFinite check) {
    return record(model.cost(), model.vars, chain(check), GradientDescent{.learning_rate = 1e-3},
                  {.loss_scale = LossScale{.initial = 4}});
  };
  const auto before = model.weights();
  Step stop = make({.policy = NonFinite::stop});
  for (const double scale : {4, 2}) {  // it may be
    EXPECT_TRUE(stop(bad, model.y, model.ids).skip) << scale;
    EXPECT_EQ(stop.loss_scale(), scale / 2);
  }
  for (int again = 0; again < 2; ++again)
    EXPECT_NE(non_finite_error([&] {
                stop(bad, model.y, model.ids);
              }).find("'w' is not finite at step 3"),
              std::string::npos);
  EXPECT_EQ(model.weights(), before);
  EXPECT_EQ(stop.loss_scale(), 1);

  Step proven = make({.policy = NonFinite::stop});
  EXPECT_FALSE(proven(model.x, model.y, model.ids).skip);
  EXPECT_THROW(proven(bad, model.y, model.ids), NonFiniteError);
  EXPECT_EQ(proven.loss_scale(), 4);

  Step zero = make({.policy = NonFinite::zero});
  zero(model.x, model.y, model.ids);
  const auto then = model.weights();
  const StepInfo info = zero(bad, model.y, model.ids);
  EXPECT_TRUE(!info.skip && !info.finite && info.non_finite == "w");
  EXPECT_EQ(zero.loss_scale(), 2);
  EXPECT_NE(model.weights(), then);
  for (const auto& w : model.weights())
    for (double v : w) EXPECT_TRUE(std::isfinite(v));

  Step counts = make({.most_skips = 3});
  counts(model.x, model.y, model.ids);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(counts(bad, model.y, model.ids).skip);
  EXPECT_NE(non_finite_error([&] {
              counts(bad, model.y, model.ids);
            }).find("3 steps before it were skipped"),
            std::string::npos);
}

TEST_F(Poisoned, AScaleIsNotBlamedForWhatATransformMakes) {
  bool spoils = false;
  const auto spoil = [&spoils](const Gradient& g, const std::string& name) {
    return spoils && name == "b" ? Gradient(vector({kInf, 1}, DType::float32)) : g;
  };
  const StepOptions options{.loss_scale = LossScale{.initial = 4}};
  const auto run = [](Step& step, SmallModel& m) { return step(m.x, m.y, m.ids); };

  SmallModel applied;
  Step measures =
      record(applied.cost(), applied.vars, chain(spoil, MeasureNorm{}), GradientDescent{}, options);
  spoils = true;
  const StepInfo info = run(measures, applied);
  EXPECT_TRUE(!info.skip && !info.finite && info.non_finite == "b");
  EXPECT_EQ(measures.loss_scale(), 4);

  for (const bool proven : {false, true}) {
    SmallModel skipped;
    Step checks =
        record(skipped.cost(), skipped.vars, chain(spoil, CheckFinite{}), Adam{}, options);
    spoils = false;
    if (proven) {
      EXPECT_FALSE(run(checks, skipped).skip);
    }
    spoils = true;
    EXPECT_TRUE(run(checks, skipped).skip);
    EXPECT_EQ(checks.loss_scale(), 4) << proven;
  }

  SmallModel kept;
  StepOptions both = options;
  both.rollback = Rollback{.most_bad = 0};
  Step goes_back = record(kept.cost(), kept.vars, chain(spoil, CheckFinite{}), Adam{}, both);
  EXPECT_TRUE(run(goes_back, kept).rolled_back);  // the scale is no excuse
}

TEST_F(Poisoned, WrongScalesAndInputs) {
  const auto error = [&](LossScale s) {
    return error_of([&] { record(model.cost(), model.vars, chain(), Adam{}, {.loss_scale = s}); });
  };
  EXPECT_NE(error({.initial = 0}).find("loss_scale.initial"), std::string::npos);
  EXPECT_NE(error({.factor = 0.5}).find("loss_scale.factor"), std::string::npos);
  EXPECT_NE(error({.least = 8, .most = 4}).find("loss_scale.most"), std::string::npos);
  Step train = record(model.cost(), model.vars, chain(), Adam{}, {.loss_scale = LossScale{}});
  train(model.x, model.y, model.ids);
  EXPECT_EQ(error_of([&] { train(model.x, model.y); }), "Step: 2 inputs, recorded with 3");
}

// ---------------------------------------------------------------- examples

TEST(BatchAxis, CountsTheExamplesOfLimitsPerSample) {
  SmallModel rows, columns;
  const auto cost = [](SmallModel& m, bool time_major) {
    return [&m, time_major](Value in, Value out, Value ids) {
      return m.loss(time_major ? transpose(in) : in, out, ids);
    };
  };
  const AnyTransform clip = chain(ClipByGlobalNorm{.clip_norm = per_sample(0.01)});
  Step by_row = record(cost(rows, false), rows.vars, clip, GradientDescent{}, {.batch_axis = 0});
  Step by_column =
      record(cost(columns, true), columns.vars, clip, GradientDescent{}, {.batch_axis = 1});
  Tensor turned({3, 4}, DType::float32);
  for (size_t i = 0; i < 12; ++i) turned.flat<float>()[i % 3 * 4 + i / 3] = rows.x.flat<float>()[i];
  const StepInfo info = by_row(rows.x, rows.y, rows.ids);
  EXPECT_EQ(info.examples, 4);
  EXPECT_NEAR(info.clipped_norm, 0.04, 1e-12);
  const StepInfo same = by_column(turned, columns.y, columns.ids);
  EXPECT_EQ(same.examples, 4);
  EXPECT_NEAR(same.clipped_norm, 0.04, 1e-12);
}

TEST(BatchAxis, IsNamedWhereItIsMissingOrWrong) {
  SmallModel model;
  const auto error = [&](StepOptions options) {
    return error_of([&] {
      Step step = record(model.cost(), model.vars, chain(ClipByNorm{.clip_norm = per_sample(1)}),
                         GradientDescent{}, options);
      step(model.x, model.y, model.ids);
    });
  };
  const auto before = model.weights();
  EXPECT_NE(error({}).find("StepOptions::batch_axis"), std::string::npos);
  EXPECT_EQ(error({.batch_axis = -1}), "record: batch_axis is -1; count axes from 0");
  EXPECT_EQ(error({.batch_axis = 2}),
            "record: batch_axis is 2, but the first input is float32 [4, 3]");
  EXPECT_EQ(model.weights(), before);
  Step plain = record(model.cost(), model.vars, chain(), GradientDescent{});
  EXPECT_EQ(plain(model.x, model.y, model.ids).examples, 0);
}

}  // namespace
}  // namespace rein
