// Every wrapper with every transform and every rule: a Step walks as the same thing by hand, saved
// and restored, on any number of threads, to the bit; and a limit above every norm is no limit.
// Both sides call the same rules and transforms, so a formula that is wrong there is not found
// here: they are held to others' numbers and to twins in tests/golden, tests/apply, tests/process
// and sharpness_test.cpp.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "rein/apply/sharpness.h"
#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

constexpr int kSteps = 6;
constexpr double kHuge = 1e30;

// ---------------------------------------------------------------- the tables

struct ClipRow {
  const char* name;
  AnyTransform (*make)();             // tight enough to change something
  AnyTransform (*above)() = nullptr;  // with a limit above every norm
  bool changes = true;                // not one that only looks
};

template <class T>
AnyTransform any(T transform) {
  return AnyTransform(std::move(transform));
}

AnyTransform no_clip() { return chain(); }

const ClipRow kClips[] = {
    {"none", no_clip, nullptr, false},
    {"ClipByValue",
     [] {
       return any(ClipByValue{-0.1, 0.2});
     },
     [] {
       return any(ClipByValue{-kHuge, kHuge});
     }},
    {"ClipByNorm", [] { return any(ClipByNorm{.clip_norm = 0.3}); },
     [] { return any(ClipByNorm{.clip_norm = kHuge}); }},
    {"ClipByNorm of rows", [] { return any(ClipByNorm{.clip_norm = 0.2, .axes = {-1}}); },
     [] { return any(ClipByNorm{.clip_norm = kHuge, .axes = {-1}}); }},
    {"ClipByNorm as TensorFlow",
     [] { return any(ClipByNorm{.clip_norm = 0.3, .semantics = Semantics::tensorflow}); }},
    {"ClipByAverageNorm", [] { return any(ClipByAverageNorm{.clip_norm = 0.05}); },
     [] { return any(ClipByAverageNorm{.clip_norm = kHuge}); }},
    {"ClipByBlockRms", [] { return any(ClipByBlockRms{.threshold = 0.1}); },
     [] { return any(ClipByBlockRms{.threshold = kHuge}); }},
    {"ClipByGlobalNorm", [] { return any(ClipByGlobalNorm{.clip_norm = 0.5}); },
     [] { return any(ClipByGlobalNorm{.clip_norm = kHuge}); }},
    {"ClipByGlobalNorm of order 3",
     [] { return any(ClipByGlobalNorm{.clip_norm = 0.5, .norm_type = 3}); },
     [] { return any(ClipByGlobalNorm{.clip_norm = kHuge, .norm_type = 3}); }},
    {"ClipByGlobalNorm as PyTorch",
     [] { return any(ClipByGlobalNorm{.clip_norm = 0.5, .semantics = Semantics::pytorch}); }},
    {"MeasureNorm", [] { return any(MeasureNorm{}); }, [] { return any(MeasureNorm{}); }, false},
    {"MaxChange", [] { return any(MaxChange{.per_variable = 0.4, .global = 0.5}); },
     [] { return any(MaxChange{.per_variable = kHuge, .global = kHuge}); }},
    {"AdaptiveGradClip", [] { return any(AdaptiveGradClip{.clipping = 0.1}); },
     [] { return any(AdaptiveGradClip{.clipping = kHuge}); }},
    {"AutoClip", [] { return any(AutoClip{.percentile = 10, .window = 3}); }},
    {"ZClip", [] { return any(ZClip{.alpha = 0.5, .z_threshold = 0.1, .warmup = 2}); },
     [] { return any(ZClip{.z_threshold = kHuge, .warmup = 2}); }},
    {"AdaptiveClipping", [] { return any(AdaptiveClipping{.std_factor = 0.1}); },
     [] { return any(AdaptiveClipping{.std_factor = kHuge}); }},
    {"AdaGC", [] { return any(AdaGC{.lambda_abs = 0.5, .warmup = 2}); },
     [] { return any(AdaGC{.lambda_rel = kHuge, .lambda_abs = kHuge, .warmup = 2}); }},
    {"ClipSpikes", [] { return any(ClipSpikes{.theta = 1.5, .beta2 = 0.5}); },
     [] { return any(ClipSpikes{.theta = kHuge, .beta2 = 0.5}); }},
    {"Centralize", [] { return any(Centralize{}); }},
    {"Normalize", [] { return any(Normalize{.norm = 0.5}); }},
    {"Normalize of variables", [] { return any(Normalize{.norm = 0.5, .per_variable = true}); }},
    {"Scale", [] { return any(Scale{[](int64_t step) { return 1 / (1.0 + double(step)); }}); }},
    {"Multiply",
     [] {
       return any(Multiply{{{"w", 0.3}, {"e", 0.0}}});
     }},
    {"AddNoise", [] { return any(AddNoise{.eta = 0.01, .seed = 3}); }},
    {"ZeroNans", [] { return any(ZeroNans{}); }, [] { return any(ZeroNans{}); }, false},
    {"CheckFinite", [] { return any(CheckFinite{.skip_above = 8}); },
     [] { return any(CheckFinite{.skip_above = kHuge}); }},
    {"Groups",
     [] {
       return any(Groups{
           {{"e", ClipByNorm{.clip_norm = 0.1}}, {"*", AutoClip{.percentile = 10, .window = 3}}}});
     },
     [] {
       return any(Groups{{{"e", ClipByNorm{.clip_norm = kHuge}}, {"*", chain()}}});
     }},
    {"except", [] { return any(except("e", ClipByGlobalNorm{.clip_norm = 0.3})); },
     [] { return any(except("e", ClipByGlobalNorm{.clip_norm = kHuge})); }},
    {"conditionally_transform",
     [] {
       return any(conditionally_transform(AdaGC{.lambda_abs = 0.5, .warmup = 2},
                                          [](int64_t before) { return before != 1; }));
     },
     [] {
       return any(conditionally_transform(ClipByGlobalNorm{.clip_norm = kHuge},
                                          [](int64_t before) { return before != 1; }));
     }},
    {"conditionally_mask",
     [] {
       return any(conditionally_mask(AdaGC{.lambda_abs = 0.5, .warmup = 2},
                                     [](const StepInfo& info) { return info.step != 2; }));
     },
     [] {
       return any(conditionally_mask(ClipByGlobalNorm{.clip_norm = kHuge},
                                     [](const StepInfo& info) { return info.step < 99; }));
     }},
    {"Monitor", [] { return Monitor().around(ClipByGlobalNorm{.clip_norm = 0.5}); },
     [] { return Monitor().around(ClipByGlobalNorm{.clip_norm = kHuge}); }},
    {"a function",
     [] {
       return any([](const Gradient& g, const std::string&) { return clip_by_norm(g, 0.2); });
     }},
    {"several",
     [] {
       return any(chain(CheckFinite{}, ClipByValue{-0.4, 0.4}, AdaGC{.warmup = 1},
                        ClipByGlobalNorm{.clip_norm = 0.3}));
     }},
};

struct RuleRow {
  AnyRule rule;
  bool with_every_clip = false;
};

std::vector<RuleRow> rules() {
  const Schedule rate = [](int64_t step) { return 0.1 / (1 + 0.2 * static_cast<double>(step)); };
  return {{GradientDescent{.learning_rate = rate}, true},
          {Momentum{.learning_rate = rate, .use_nesterov = true}, true},
          {Adam{.learning_rate = rate}, true},
          {AdamW{.learning_rate = rate, .weight_decay = 0.1, .form = RuleForm::pytorch}},
          {Adamax{.learning_rate = rate}},
          {Nadam{.learning_rate = rate}},
          {RAdam{.learning_rate = rate}},
          {RMSProp{.learning_rate = rate, .momentum = 0.5, .centered = true}},
          {Adagrad{.learning_rate = rate}},
          {Adadelta{.learning_rate = rate}},
          {Adafactor{}},
          {Ftrl{.learning_rate = rate, .l1 = 0.01}},
          {Lion{.learning_rate = rate}},
          {Rprop{}},
          {Lamb{.learning_rate = rate}},
          {Lars{.learning_rate = rate}},
          {Muon{.learning_rate = rate}},
          {ScheduleFreeAdamW{.learning_rate = 0.1}}};
}

struct WrapperRow {
  const char* name;
  AnyRule (*around)(AnyRule rule) = [](AnyRule rule) { return rule; };
  StepOptions options{};
  int micro_batches = 1;
  bool moves = true;  // parameters otherwise than without it
  int bad_step = -1;  // whose batch has a NaN
};

const WrapperRow kWrappers[] = {
    {.name = "none", .moves = false},
    {"EMA",
     [](AnyRule rule) {
       return AnyRule(WeightAverage{.rule = rule, .decay = 0.7, .overwrite_every = 3});
     }},
    {.name = "SWA",
     .around =
         [](AnyRule rule) {
           return AnyRule(
               WeightAverage{.rule = rule, .averaging = Averaging::equal, .first = 2, .every = 2});
         },
     .moves = false},
    {"Lookahead", [](AnyRule rule) { return AnyRule(Lookahead{.rule = rule, .sync_period = 2}); }},
    {"Lookahead in an EMA",
     [](AnyRule rule) {
       return AnyRule(WeightAverage{.rule = Lookahead{.rule = rule, .sync_period = 2}});
     }},
    {"ClipUpdates",
     [](AnyRule rule) {
       return AnyRule(ClipUpdates{.rule = rule, .clip = ClipByValue{-0.05, 0.05}});
     }},
    {.name = "SAM", .options = {.sharpness = Sharpness{.rho = 0.1}}},
    {.name = "ASAM", .options = {.sharpness = Sharpness{.rho = 0.5, .adaptive = true}}},
    {.name = "accumulation", .micro_batches = 3},
    {"RuleGroups",
     [](AnyRule rule) {
       return AnyRule(RuleGroups{.groups = {{"e", Adagrad{}}, {"b", rule}}, .otherwise = rule});
     }},
    {.name = "LossScale",
     .options = {.loss_scale = LossScale{.initial = 256, .growth_interval = 2}},
     .moves = false},
    {.name = "Rollback",
     .options = {.rollback = Rollback{.every = 3, .most_bad = 0, .most = kSteps}},
     .bad_step = 4},
    {"all of them",
     [](AnyRule rule) {
       return AnyRule(WeightAverage{
           .rule = Lookahead{.rule = ClipUpdates{.rule = RuleGroups{.groups = {{"e", rule}},
                                                                    .otherwise = rule},
                                                 .clip = ClipByNorm{.clip_norm = 0.1}},
                             .sync_period = 2},
           .averaging = Averaging::warming});
     },
     {.loss_scale = LossScale{.initial = 64}, .sharpness = Sharpness{.rho = 0.1}},
     2},
};

// ---------------------------------------------------------------- one way to train, and another

// What a training is made of: a cell of the matrix.
struct Cell {
  Cell(const WrapperRow& w, const AnyRule& inner, AnyTransform (*p)())
      : wrapper(w), rule(w.around(inner)), process(p) {}

  const WrapperRow& wrapper;
  AnyRule rule;
  AnyTransform (*process)();

  StepOptions options(int threads) const {
    StepOptions options = wrapper.options;
    options.threads = threads;
    return options;
  }
};

struct Batch {
  Tensor x, y, ids;
};
// Of one micro-batch of a step. Their sizes differ, so that some are clipped and some are not.
Batch batch(const WrapperRow& wrapper, int step, int part) {
  const auto stream = static_cast<uint64_t>(10 * step + 3 * part);
  const double size = std::array{1.0, 0.3, 3.0, 0.5, 2.0}[static_cast<size_t>(step) % 5];
  auto x = noise(12, 100 + stream), y = noise(8, 101 + stream);
  for (double& v : x) v *= size;
  for (double& v : y) v *= size;
  if (step == wrapper.bad_step) x[5] = std::nan("");
  return {tensor({4, 3}, x, DType::float32), tensor({4, 2}, y, DType::float32),
          Tensor::of<int64_t>({3}, {step % 5, (step + part) % 5, step % 5})};
}

using Weights = std::vector<std::vector<double>>;

// Weights after every step.
using Course = std::vector<Weights>;

// Steps [from, to) of a cell by a Step.
void train(Step& step, const Cell& cell, SmallModel& model, int from, int to, Course& course) {
  for (int t = from; t < to; ++t) {
    for (int part = 0; part + 1 < cell.wrapper.micro_batches; ++part) {
      const Batch b = batch(cell.wrapper, t, part);
      step.accumulate(b.x, b.y, b.ids);
    }
    const Batch b = batch(cell.wrapper, t, cell.wrapper.micro_batches - 1);
    step(b.x, b.y, b.ids);
    course.push_back(model.weights());
  }
}

Step step_of(const Cell& cell, SmallModel& model, int threads) {
  return record(model.cost(), model.vars, cell.process(), cell.rule, cell.options(threads));
}

// The same without a Step: tape, transforms, `apply_updates`.
class ByHand {
 public:
  explicit ByHand(const Cell& cell) : cell_(cell) {
    if (scale_options()) loss_scale_ = scale_options()->initial;
    if (scale_options() || rollback()) process_ = chain(CheckFinite{}, cell.process());
    process_state_ = process_.init(model_.vars);
    rule_state_ = cell.rule.init(model_.vars);
    Packed process;
    process_state_.pack(process);
    keep(process);
  }

  Course run() {
    Course course;
    for (int t = 0; t < kSteps; ++t) {
      step(t);
      course.push_back(model_.weights());
    }
    return course;
  }

 private:
  const std::optional<LossScale>& scale_options() const { return cell_.wrapper.options.loss_scale; }
  const std::optional<Rollback>& rollback() const { return cell_.wrapper.options.rollback; }

  void step(int t) {
    const int parts = cell_.wrapper.micro_batches;
    Gradients sum(model_.vars);
    StepInfo info{.step = t + 1};
    double loss = 0;
    for (int part = 0; part < parts; ++part) {
      const Batch b = batch(cell_.wrapper, t, part);
      Gradients gradients(model_.vars);
      loss += compute(b, gradients);
      if (cell_.wrapper.options.sharpness) uphill(b, gradients);
      sum.add(gradients);
    }
    info.finite = std::isfinite(loss);
    sum.scale = 1 / loss_scale_ / parts;
    Packed before;
    process_state_.pack(before);
    process_.update(sum, process_state_, model_.vars, info);
    if (rollback() && info.skip) go_back();
    if (rollback() && !info.skip && healthy_++ % rollback()->every == 0) keep(before);
    apply_updates(model_.vars, sum, rule_, rule_state_, info, team_);
    if (!info.skip) process_.remember(process_state_);
    if (!scale_options()) return;
    ASSERT_TRUE(info.finite);
    if (++fine_ % scale_options()->growth_interval == 0) loss_scale_ *= 2;
  }

  // What there is, with what the transforms remembered before this step.
  void keep(Packed process) {
    kept_ = {.process = std::move(process)};
    for (size_t i = 0; i < model_.vars.size(); ++i) kept_.weights.push_back(model_.vars[i].read());
    rule_state_.pack(kept_.rule);
  }
  void go_back() {
    for (size_t i = 0; i < kept_.weights.size(); ++i)
      model_.vars.assign(model_.vars[i], kept_.weights[i]);
    kept_.process.rewind(), kept_.rule.rewind();
    process_state_.unpack(kept_.process), rule_state_.unpack(kept_.rule);
    rule_ = rule_.slowed(rollback()->rate_factor);
    healthy_ = 0;
  }

  // Gradients of the loss times its scale; returns the loss.
  double compute(const Batch& b, Gradients& gradients) {
    GradientTape tape;
    const Value loss = model_.loss(tape.input(b.x), tape.input(b.y), tape.input(b.ids));
    const auto found = tape.gradient(loss * loss_scale_, model_.vars);
    for (size_t i = 0; i < found.size(); ++i) gradients.set(i, found[i]);
    return loss.item();
  }

  void uphill(const Batch& b, Gradients& gradients) {
    gradients.scale = 1 / loss_scale_;
    ascent_.climb(model_.vars, gradients, *cell_.wrapper.options.sharpness);
    compute(b, gradients);
    gradients.scale = 1;
    ascent_.descend(model_.vars);
  }

  const Cell& cell_;
  SmallModel model_;
  Ascent ascent_{model_.vars};
  ThreadTeam team_{1};
  AnyTransform process_ = cell_.process();
  AnyTransform::State process_state_;
  AnyRule::State rule_state_;
  AnyRule rule_ = cell_.rule;
  double loss_scale_ = 1;
  int64_t fine_ = 0;
  // With a Rollback.
  struct {
    Packed process{}, rule{};
    std::vector<Tensor> weights{};
  } kept_;
  int64_t healthy_ = 0;
};

// All that is saved of a step, as one text.
std::string bits(const StateDict& state) {
  std::string text;
  for (const auto& [name, value] : state) {
    text += name + ": " + to_string(value) + "\n";
    if (const Tensor* t = std::get_if<Tensor>(&value))
      text.append(static_cast<const char*>(t->data()), t->spec().bytes());
  }
  return text;
}

// ---------------------------------------------------------------- the matrix

void check_cell(const Cell& cell, const Course& want) {
  SmallModel model, restored;
  Course course;
  Step step = step_of(cell, model, 1);
  train(step, cell, model, 0, 2, course);
  const StateDict saved = step.state();
  train(step, cell, model, 2, kSteps, course);
  EXPECT_EQ(course, want) << "recorded and by hand";
  const std::string end = bits(step.state());

  Step next = step_of(cell, restored, 2);
  next.load_state(saved);
  course.resize(2);
  train(next, cell, restored, 2, kSteps, course);
  EXPECT_EQ(course, want) << "restored after two steps";
  EXPECT_EQ(bits(next.state()), end) << "restored after two steps";

  SmallModel others;
  Step with_three = step_of(cell, others, 3);
  course.clear();
  train(with_three, cell, others, 0, kSteps, course);
  EXPECT_EQ(course, want) << "three threads";
  EXPECT_EQ(bits(with_three.state()), end) << "three threads";
}

// ScheduleFreeAdamW has an average of its own, Rprop no learning rate to lower.
bool refused(const WrapperRow& wrapper, const AnyRule& rule) {
  SmallModel model;
  return test::error_of([&] { step_of({wrapper, rule, no_clip}, model, 1); }) != "nothing thrown";
}

TEST(Wrappers, WithEveryClipAndRule) {
  int cells = 0, refusals = 0;
  for (const WrapperRow& wrapper : kWrappers)
    for (const RuleRow& row : rules()) {
      if (refused(wrapper, row.rule)) {
        ++refusals;
        continue;
      }
      const Course bare = ByHand({wrapper, row.rule, no_clip}).run();
      for (const ClipRow& clip : kClips) {
        if (!row.with_every_clip && std::string_view(clip.name) != "several") continue;
        SCOPED_TRACE(testing::Message()
                     << wrapper.name << ", " << clip.name << ", " << row.rule.name());
        const Cell cell{wrapper, row.rule, clip.make};
        const Course course = ByHand(cell).run();
        if (row.with_every_clip) {
          EXPECT_EQ(course != bare, clip.changes);
        }
        check_cell(cell, course);
        if (clip.above) {
          EXPECT_EQ(ByHand({wrapper, row.rule, clip.above}).run(), bare);
        }
        ++cells;
        if (HasFailure()) return;  // the first cell tells enough
      }
    }
  EXPECT_GT(cells, 1200);
  EXPECT_EQ(refusals, 6 + 1);
}

TEST(Wrappers, EachDoesSomething) {
  const AnyRule rule = GradientDescent{.learning_rate = 0.1};
  const auto course = [&](const WrapperRow& wrapper) {
    return ByHand({wrapper, rule, no_clip}).run();
  };
  const Course bare = course(kWrappers[0]);
  for (const WrapperRow& wrapper : kWrappers)
    EXPECT_EQ(course(wrapper) != bare, wrapper.moves) << wrapper.name;
}

// Of variables that are large enough for threads to share them: each wrapper and each clip once.
TEST(Wrappers, OfLargeVariablesHaveTheSameBitsForAnyNumberOfThreads) {
  const auto end = [](const Cell& cell, int threads) {
    Variables vars{Seed{1}};
    const Variable w = vars.add("w", {130, 300}, glorot_uniform());
    const Variable b = vars.add("b", {300}, zeros());
    vars.add("e", {2}, zeros());
    const auto cost = [&](Value x) { return reduce_mean(square(tanh(matmul(x, w) + b) - 0.5)); };
    Step step = record(cost, vars, cell.process(), cell.rule, cell.options(threads));
    for (int t = 0; t < 3; ++t) {
      const Tensor x = tensor({4, 130}, noise(4 * 130, static_cast<uint64_t>(t)), DType::float32);
      for (int part = 1; part < cell.wrapper.micro_batches; ++part) step.accumulate(x);
      step(x);
    }
    return bits(step.state());
  };
  for (const WrapperRow& wrapper : kWrappers)
    for (const ClipRow& clip : kClips) {
      if (&wrapper != &kWrappers[0] && std::string_view(clip.name) != "ClipByGlobalNorm") continue;
      SCOPED_TRACE(testing::Message() << wrapper.name << ", " << clip.name);
      const std::string want = end({wrapper, Adam{}, clip.make}, 1);
      for (int threads : {2, 3}) EXPECT_EQ(end({wrapper, Adam{}, clip.make}, threads), want);
      if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace rein
