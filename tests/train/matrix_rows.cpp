#include "train/matrix_rows.h"

namespace rein::matrix {
namespace {

constexpr double kHuge = 1e30;
constexpr double kOfExamples = 20;  // some are longer

template <class T>
AnyTransform any(T transform) {
  return AnyTransform(std::move(transform));
}

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
    {"ZClip", [] { return any(ZClip{.alpha = 0.5, .z_threshold = 0, .warmup = 2}); },
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
    {"ClipUpdates that refuses some",
     [](AnyRule rule) {
       return AnyRule(ClipUpdates{.rule = rule, .clip = CheckFinite{.skip_above = 2}});
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
    {.name = "ranks", .micro_batches = 2, .ranks = 2},
    {.name = "per example, one by one",
     .options = {.per_example = PerExample{.clip_norm = kOfExamples, .one_by_one = true}}},
    {.name = "per example, together",
     .options = {.per_example = PerExample{.clip_norm = kOfExamples}},
     .to_the_bit = false},
    {.name = "per example, with noise, on ranks",
     .options = {.rollback = Rollback{.every = 3, .most_bad = 0, .most = kSteps},
                 .per_example = PerExample{.clip_norm = kOfExamples,
                                           .noise_multiplier = 0.1,
                                           .seed = 5,
                                           .one_by_one = true}},
     .micro_batches = 2,
     .ranks = 2},
    {.name = "all of them",
     .around =
         [](AnyRule rule) {
           return AnyRule(WeightAverage{
               .rule = Lookahead{.rule = ClipUpdates{.rule = RuleGroups{.groups = {{"e", rule}},
                                                                        .otherwise = rule},
                                                     .clip = ClipByNorm{.clip_norm = 0.1}},
                                 .sync_period = 2},
               .averaging = Averaging::warming});
         },
     .options = {.loss_scale = LossScale{.initial = 64}, .sharpness = Sharpness{.rho = 0.1}},
     .micro_batches = 2,
     .ranks = 2},
};

}  // namespace

std::span<const ClipRow> clips() { return kClips; }

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

std::span<const WrapperRow> wrappers() { return kWrappers; }

}  // namespace rein::matrix
