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
  return {.learning_rate = rate(attrs, rates),
          .beta1 = number_or(attrs, "b1", 0.9),
          .beta2 = number_or(attrs, "b2", 0.999),
          .epsilon = number_or(attrs, "eps", 1e-8)};
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
       {"learning_rate", "decay", "eps", "eps_in_sqrt", "centered", "momentum"},
       rmsprop},
      {"adagrad", "optax", {"learning_rate", "eps", "initial_accumulator_value"}, adagrad},
      {"lion", "optax", {"learning_rate", "b1", "b2", "weight_decay"}, lion},
      {"lamb", "optax", {"learning_rate", "b1", "b2", "eps", "weight_decay"}, lamb},
  };
}

}  // namespace golden
