// Training that is saved and restored goes on to the bit; eager and recorded steps walk the same
// way.
#include <gtest/gtest.h>

#include "apply/rule_table.h"
#include "rein/apply/schedules.h"
#include "train/model.h"

namespace rein {
namespace {

using Weights = std::vector<std::vector<double>>;

AnyTransform clips() { return chain(ClipByValue{-2, 2}, ClipByGlobalNorm{.clip_norm = 0.5}); }

std::vector<RuleRow> rules() {
  return rule_table(
      Warmup{.steps = 3, .from = 0.02, .then = CosineDecay{.initial = 0.1, .decay_steps = 9}}, "e*",
      "b*");
}

TEST(StepState, EagerRecordedAndRestoredTrajectoriesAreEqualToTheBit) {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const auto& [name, rule, by_rows] : rules()) {
      SmallModel eager(dtype), recorded(dtype), restored(dtype);
      RuleOptimizer optimizer(rule);
      Step step = record(recorded.cost(), recorded.vars, clips(), rule);
      const auto eager_step = [&](RuleOptimizer& o, SmallModel& model) {
        GradientTape tape;
        auto pairs = o.compute_gradients(model.loss_on(tape), model.vars);
        std::vector<Gradient> gradients;
        for (auto& pair : pairs)
          gradients.push_back(pair.grad ? clip_by_value(pair.grad, -2, 2) : pair.grad);
        o.apply_gradients(zip(clip_by_global_norm(gradients, 0.5).gradients, model.vars));
      };
      StateDict saved, saved_eager;
      for (int i = 0; i < 8; ++i) {
        if (i == 5) {
          saved = step.state();
          saved_eager = optimizer.state();
        }
        eager_step(optimizer, eager);
        step(recorded.x, recorded.y, recorded.ids);
      }
      EXPECT_EQ(eager.weights(), recorded.weights()) << name;

      // Another step, two steps into its own training.
      Step other = record(restored.cost(), restored.vars, clips(), rule);
      for (int i = 0; i < 2; ++i) other(restored.x, restored.y, restored.ids);
      other.load_state(saved);
      EXPECT_EQ(other.step(), 5);
      for (int i = 5; i < 8; ++i) other(restored.x, restored.y, restored.ids);
      EXPECT_EQ(restored.weights(), recorded.weights()) << name;

      SmallModel again(dtype);
      RuleOptimizer fresh(rule);
      fresh.load_state(saved_eager, again.vars);
      for (int i = 5; i < 8; ++i) eager_step(fresh, again);
      EXPECT_EQ(again.weights(), recorded.weights()) << name;
    }
}

TEST(StepState, AnotherSetupIsAnErrorThatListsTheDifferences) {
  SmallModel model, other;
  Step step = record(model.cost(), model.vars, clips(), Adam{});
  step(model.x, model.y, model.ids);
  const StateDict saved = step.state();

  other.vars.add("more", {2}, zeros());
  Step momentum = record(other.cost(), other.vars, chain(ClipByGlobalNorm{.clip_norm = 0.25}),
                         Momentum{.learning_rate = 1e-3});
  const Weights before = other.weights();
  try {
    momentum.load_state(saved);
    FAIL();
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    for (const char* part :
         {"missing: 'parameters/more'", "missing: all 5 of 'rule/momentum/'\n",
          "unexpected: 'rule/m/w' (float32 [3, 2])", "unexpected: 'settings/rule/beta1' (0.9)",
          "'settings/rule': 'Momentum' here, 'Adam' saved", "'settings/process/0'",
          "state_test.cpp"})
      EXPECT_NE(text.find(part), std::string::npos) << part << "\nin " << text;
  }
  EXPECT_EQ(other.weights(), before);
  EXPECT_EQ(momentum.step(), 0);
}

// What stands in front of the user's transforms then is no part of the list.
TEST(StepState, OptionsOfAStepDifferByThemselvesAlone) {
  SmallModel model, other;
  const auto process = chain(CheckFinite{.policy = NonFinite::stop}, clips());
  Step plain = record(model.cost(), model.vars, process, Adam{});
  plain(model.x, model.y, model.ids);
  Step scaled = record(other.cost(), other.vars, chain(CheckFinite{}, clips()), Adam{},
                       {.loss_scale = LossScale{}});
  try {
    scaled.load_state(plain.state());
    FAIL();
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("missing: 'settings/loss_scale/initial'"), std::string::npos) << text;
    EXPECT_NE(text.find("process/0/policy': 'skip' here, 'stop' saved"), std::string::npos) << text;
    EXPECT_EQ(text.find("process"), text.rfind("process")) << text;
  }
}

// All that a rollback keeps is one line.
TEST(StepState, FoldersThatTheOtherSideLacksAreOneDifference) {
  SmallModel model, other;
  Step plain = record(model.cost(), model.vars, clips(), Adam{});
  plain(model.x, model.y, model.ids);
  Step kept = record(other.cost(), other.vars, clips(), Adam{}, {.rollback = Rollback{}});
  const auto differences = [](Step& step, const StateDict& saved) -> std::string {
    try {
      step.load_state(saved);
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "";
  };
  const std::string missing = differences(kept, plain.state());
  EXPECT_NE(missing.find("missing: 'settings/rollback/every'"), std::string::npos) << missing;
  EXPECT_NE(missing.find("of 'rollback/'\n"), std::string::npos) << missing;
  EXPECT_EQ(missing.find("'rollback/kept"), std::string::npos) << missing;
  const std::string unexpected = differences(plain, kept.state());
  EXPECT_NE(unexpected.find("unexpected: 'settings/rollback/every' (100)"), std::string::npos)
      << unexpected;
  EXPECT_NE(unexpected.find("of 'rollback/'\n"), std::string::npos) << unexpected;
  EXPECT_EQ(unexpected.find("'rollback/kept"), std::string::npos) << unexpected;
}

TEST(StepState, SettingsMayDifferOnRequest) {
  SmallModel model, other;
  Step step = record(model.cost(), model.vars, clips(), Adam{.learning_rate = 0.1});
  step(model.x, model.y, model.ids);
  Step slower = record(other.cost(), other.vars, clips(), Adam{.learning_rate = 0.01});
  EXPECT_THROW(slower.load_state(step.state()), InvalidArgument);
  slower.load_state(step.state(), SavedSettings::do_not_matter);
  EXPECT_EQ(other.weights(), model.weights());
}

TEST(StepState, TakesTheLossScaleAndThePlateauAlong) {
  const StepOptions options{.loss_scale = LossScale{.initial = 1024, .growth_interval = 2}};
  const PlateauSettings settings{.initial = 0.1, .factor = 0.5, .patience = 0};
  SmallModel model, other;
  ReduceOnPlateau rate{settings}, other_rate{settings};
  Step step = record(model.cost(), model.vars, clips(), Adam{.learning_rate = rate}, options);
  for (int i = 0; i < 3; ++i) step(model.x, model.y, model.ids);
  rate.feed(1), rate.feed(2);
  Step next = record(other.cost(), other.vars, clips(), Adam{.learning_rate = other_rate}, options);
  next.load_state(step.state());
  EXPECT_EQ(other_rate.rate(), 0.05);
  EXPECT_EQ(next.loss_scale(), 2048);
  for (int i = 0; i < 3; ++i) {
    step(model.x, model.y, model.ids);
    next(other.x, other.y, other.ids);
  }
  EXPECT_EQ(next.loss_scale(), 8192);
  EXPECT_EQ(other.weights(), model.weights());
}

TEST(StepState, IsRefusedBetweenMicroBatchesAndOfWhatDoesNotListItself) {
  SmallModel model;
  Step step = record(model.cost(), model.vars, clips(), Adam{});
  step.accumulate(model.x, model.y, model.ids);
  EXPECT_THROW(step.state(), InvalidArgument);
  step(model.x, model.y, model.ids);
  EXPECT_NO_THROW(step.state());

  struct Counting {
    struct State {
      int64_t count = 0;
    };
    State init(const Variables&) const { return {}; }
    void update(Gradients&, State& state, const Variables&, StepInfo&) const { ++state.count; }
  };
  Step counting = record(model.cost(), model.vars, chain(Counting{}), Adam{});
  try {
    counting.state();
    FAIL();
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find("'process/0' does not list its fields"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace rein
