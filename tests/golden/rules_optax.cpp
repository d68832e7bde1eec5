// Optax's optimizers in our terms.
#include "rein/process/clip.h"
#include "rules.h"

namespace golden {
namespace {

using namespace rein;

Schedule rate(const Json& attrs, const Rates& rates) {
  return rate_or(attrs, "learning_rate", 0, rates);
}

RuleSetup sgd(const Json& attrs, const Rates& rates) {
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0) return {.rule = GradientDescent{.learning_rate = rate(attrs, rates)}};
  return {.rule = Momentum{.learning_rate = rate(attrs, rates),
                           .momentum = m,
                           .use_nesterov = flag_or(attrs, "nesterov", false)},
          .slots = {{"trace", "momentum"}}};
}

template <class R>
R adam_settings(const Json& attrs, const Rates& rates) {
  return golden::adam_settings<R>(attrs, rate(attrs, rates), "b1", "b2", "eps");
}

const std::vector<SlotName> kMeans{{"mu", "m"}, {"nu", "v"}, {"nu_max", "v_max"}};

RuleSetup adam_of(const Json& attrs, const Rates& rates, bool amsgrad, double decay) {
  AdamW rule = adam_settings<AdamW>(attrs, rates);
  rule.weight_decay = decay;
  rule.amsgrad = amsgrad;
  rule.epsilon_root = number_or(attrs, "eps_root", 0);
  rule.form = RuleForm::optax;
  return {.rule = rule, .slots = kMeans};
}

RuleSetup adam(const Json& attrs, const Rates& rates) {
  RuleSetup setup = adam_of(attrs, rates, false, 0);
  if (flag_or(attrs, "nesterov", false)) {
    unset(attrs, {"eps_root"});
    Nadam rule = adam_settings<Nadam>(attrs, rates);
    rule.form = RuleForm::optax;
    setup.rule = rule;
  }
  if (const Json* clip = attrs.find("clip_by_global_norm"))
    setup.process = chain(ClipByGlobalNorm{.clip_norm = clip->as<double>()});
  return setup;
}
RuleSetup amsgrad(const Json& attrs, const Rates& rates) { return adam_of(attrs, rates, true, 0); }
RuleSetup adamw(const Json& attrs, const Rates& rates) {
  return adam_of(attrs, rates, false, number_or(attrs, "weight_decay", 1e-4));
}

RuleSetup rmsprop(const Json& attrs, const Rates& rates) {
  return {.rule = RMSProp{.learning_rate = rate(attrs, rates),
                          .rho = number_or(attrs, "decay", 0.9),
                          .momentum = number_or(attrs, "momentum", 0),
                          .use_nesterov = flag_or(attrs, "nesterov", false),
                          .epsilon = number_or(attrs, "eps", 1e-8),
                          .centered = flag_or(attrs, "centered", false),
                          .epsilon_in_root = flag_or(attrs, "eps_in_sqrt", true),
                          .form = RuleForm::optax},
          .slots = {{"nu", "rms"}, {"mu", "mean"}, {"trace", "momentum"}}};
}

RuleSetup adagrad(const Json& attrs, const Rates& rates) {
  return {.rule = Adagrad{.learning_rate = rate(attrs, rates),
                          .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0.1),
                          .epsilon = number_or(attrs, "eps", 1e-7),
                          .form = RuleForm::optax},
          .slots = {{"sum_of_squares", "accumulator"}}};
}

RuleSetup lion(const Json& attrs, const Rates& rates) {
  return {.rule = Lion{.learning_rate = rate(attrs, rates),
                       .beta1 = number_or(attrs, "b1", 0.9),
                       .beta2 = number_or(attrs, "b2", 0.99),
                       .weight_decay = number_or(attrs, "weight_decay", 1e-3)},
          .slots = kMeans};
}

RuleSetup radam(const Json& attrs, const Rates& rates) {
  RAdam rule = adam_settings<RAdam>(attrs, rates);
  rule.form = RuleForm::optax;
  return {.rule = rule, .slots = kMeans};
}

RuleSetup lars(const Json& attrs, const Rates& rates) {
  return {.rule = Lars{.learning_rate = rate(attrs, rates),
                       .momentum = number_or(attrs, "momentum", 0.9),
                       .use_nesterov = flag_or(attrs, "nesterov", false),
                       .weight_decay = number_or(attrs, "weight_decay", 0),
                       .trust_coefficient = number_or(attrs, "trust_coefficient", 1e-3),
                       .epsilon = number_or(attrs, "eps", 0),
                       .form = RuleForm::optax},
          .slots = {{"trace", "momentum"}}};
}

RuleSetup adafactor(const Json& attrs, const Rates& rates) {
  return {.rule = Adafactor{.learning_rate = rate(attrs, rates),
                            .beta2_decay = -number_or(attrs, "decay_rate", 0.8),
                            .epsilon1 = number_or(attrs, "eps", 1e-30),
                            .clip_threshold = number_or(attrs, "clipping_threshold", 1),
                            .relative_step = false,
                            .scale_by_weights = flag_or(attrs, "multiply_by_parameter_scale", true),
                            .min_factored = static_cast<int64_t>(
                                number_or(attrs, "min_dim_size_to_factor", 128))}};
}

RuleSetup schedule_free_adamw(const Json& attrs, const Rates& rates) {
  auto rule = adam_settings<ScheduleFreeAdamW>(attrs, rates);
  rule.weight_decay = number_or(attrs, "weight_decay", 0);
  rule.rate_power = number_or(attrs, "weight_lr_power", 2);
  return {.rule = rule, .slots = {{"z", "z"}}};
}

RuleSetup muon(const Json& attrs, const Rates& rates) {
  const bool nesterov = flag_or(attrs, "nesterov", true);
  const double beta1 = number_or(attrs, "adam_b1", 0.9), epsilon = number_or(attrs, "eps", 1e-8);
  const double weight_decay = number_or(attrs, "adam_weight_decay", 0);
  const Nadam nadam{.learning_rate = rate(attrs, rates),
                    .beta1 = beta1,
                    .epsilon = epsilon,
                    .weight_decay = weight_decay,
                    .decay = Decay::decoupled,
                    .form = RuleForm::optax};
  const AdamW adam{.learning_rate = rate(attrs, rates),
                   .beta1 = beta1,
                   .epsilon = epsilon,
                   .weight_decay = weight_decay,
                   .form = RuleForm::optax};
  return {.rule = Muon{.learning_rate = rate(attrs, rates),
                       .momentum = number_or(attrs, "beta", 0.95),
                       .use_nesterov = nesterov,
                       .weight_decay = number_or(attrs, "weight_decay", 0),
                       .scale = number_or(attrs, "consistent_rms", 0) == 0.2 ? MuonScale::rms
                                                                             : MuonScale::original,
                       .form = RuleForm::optax,
                       .others = nesterov ? AnyRule(nadam) : AnyRule(adam)}};
}

RuleSetup lamb(const Json& attrs, const Rates& rates) {
  Lamb rule = adam_settings<Lamb>(attrs, rates);
  rule.epsilon = number_or(attrs, "eps", 1e-6);
  rule.weight_decay = number_or(attrs, "weight_decay", 0);
  return {.rule = rule, .slots = kMeans};
}

}  // namespace

std::vector<RuleReader> optax_rules() {
  return {
      {"sgd", "optax", {"learning_rate", "momentum", "nesterov"}, sgd},
      {"adam",
       "optax",
       {"learning_rate", "b1", "b2", "eps", "eps_root", "nesterov", "clip_by_global_norm"},
       adam},
      {"amsgrad", "optax", {"learning_rate", "b1", "b2", "eps", "eps_root"}, amsgrad},
      {"adamw", "optax", {"learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"}, adamw},
      {"rmsprop",
       "optax",
       {"learning_rate", "decay", "eps", "eps_in_sqrt", "centered", "momentum", "nesterov"},
       rmsprop},
      {"adagrad", "optax", {"learning_rate", "eps", "initial_accumulator_value"}, adagrad},
      {"lion", "optax", {"learning_rate", "b1", "b2", "weight_decay"}, lion},
      {"lamb", "optax", {"learning_rate", "b1", "b2", "eps", "weight_decay"}, lamb},
      {"radam", "optax", {"learning_rate", "b1", "b2", "eps"}, radam},
      {"lars",
       "optax",
       {"learning_rate", "momentum", "nesterov", "weight_decay", "trust_coefficient", "eps"},
       lars},
      {"adafactor",
       "optax",
       {"learning_rate", "min_dim_size_to_factor", "decay_rate", "multiply_by_parameter_scale",
        "clipping_threshold", "eps"},
       adafactor},
      {"schedule_free_adamw",
       "optax",
       {"learning_rate", "b1", "b2", "eps", "weight_decay", "weight_lr_power"},
       schedule_free_adamw},
      {"muon",
       "optax",
       {"learning_rate", "beta", "eps", "nesterov", "weight_decay", "consistent_rms", "adam_b1",
        "adam_weight_decay"},
       muon},
  };
}

}  // namespace golden
