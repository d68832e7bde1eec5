// keras.optimizers in our terms.
#include <algorithm>

#include "rein/process/clip.h"
#include "rules.h"

namespace golden {
namespace {

using namespace rein;

// What every optimizer of Keras has. A threshold that is not positive switches a clip off.
const Names kCommon{"weight_decay",
                    "clipnorm",
                    "global_clipnorm",
                    "clipvalue",
                    "use_ema",
                    "ema_momentum",
                    "ema_overwrite_frequency",
                    "loss_scale_factor",
                    "gradient_accumulation_steps"};

RuleSetup setup(const Json& attrs, AnyRule rule, std::vector<SlotName> slots) {
  RuleSetup made{.rule = std::move(rule), .slots = std::move(slots)};
  made.micro_batches =
      std::max<size_t>(1, static_cast<size_t>(number_or(attrs, "gradient_accumulation_steps", 1)));
  if (flag_or(attrs, "use_ema", false)) {
    unset(attrs, {"gradient_accumulation_steps"});  // Keras averages at micro-batches too
    made.rule = WeightAverage{
        .rule = made.rule,
        .decay = number_or(attrs, "ema_momentum", 0.99),
        .overwrite_every = static_cast<int64_t>(number_or(attrs, "ema_overwrite_frequency", 0))};
    made.slots.push_back({"model_variables_moving_average", "average"});
  }
  auto& parts = made.process.parts;
  const Semantics semantics = Semantics::tensorflow;
  if (const double factor = number_or(attrs, "loss_scale_factor", 0); factor != 0)
    parts.push_back(
        [factor](Gradients& gradients, const Variables&, StepInfo&) { gradients.scale /= factor; });
  if (const double c = number_or(attrs, "clipnorm", 0); c > 0)
    parts.push_back(ClipByNorm{.clip_norm = c, .semantics = semantics});
  if (const double c = number_or(attrs, "global_clipnorm", 0); c > 0)
    parts.push_back(ClipByGlobalNorm{.clip_norm = c, .semantics = semantics});
  if (const double c = number_or(attrs, "clipvalue", 0); c > 0)
    parts.push_back(ClipByValue{.min = -c, .max = c, .semantics = semantics});
  return made;
}

double decay(const Json& attrs) { return number_or(attrs, "weight_decay", 0); }
Schedule rate(const Json& attrs, double otherwise, const Rates& rates) {
  return rate_or(attrs, "learning_rate", otherwise, rates);
}

RuleSetup sgd(const Json& attrs, const Rates& rates) {
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0)
    return setup(
        attrs,
        GradientDescent{.learning_rate = rate(attrs, 0.01, rates), .weight_decay = decay(attrs)},
        {});
  return setup(attrs,
               Momentum{.learning_rate = rate(attrs, 0.01, rates),
                        .momentum = m,
                        .use_nesterov = flag_or(attrs, "nesterov", false),
                        .weight_decay = decay(attrs),
                        .decay = Decay::decoupled,
                        .form = RuleForm::keras},
               {{"momentums", "momentum"}});
}

template <class R>
R adam_settings(const Json& attrs, const Rates& rates) {
  R rule = golden::adam_settings<R>(attrs, rate(attrs, 1e-3, rates), "beta_1", "beta_2", "epsilon",
                                    1e-7);
  rule.weight_decay = decay(attrs);
  rule.form = RuleForm::keras;
  if constexpr (requires { rule.decay; }) rule.decay = Decay::decoupled;
  return rule;
}

RuleSetup adam_of(const Json& attrs, const Rates& rates, double weight_decay) {
  AdamW rule = adam_settings<AdamW>(attrs, rates);
  rule.weight_decay = weight_decay;
  rule.amsgrad = flag_or(attrs, "amsgrad", false);
  return setup(attrs, rule, {{"momentums", "m"}, {"velocities", "v"}, {"velocity_hats", "v_max"}});
}
RuleSetup adam(const Json& attrs, const Rates& rates) {
  return adam_of(attrs, rates, decay(attrs));
}
RuleSetup adamw(const Json& attrs, const Rates& rates) {
  return adam_of(attrs, rates, number_or(attrs, "weight_decay", 0.004));
}

RuleSetup adamax(const Json& attrs, const Rates& rates) {
  return setup(attrs, adam_settings<Adamax>(attrs, rates), {{"m", "m"}, {"u", "u"}});
}

RuleSetup nadam(const Json& attrs, const Rates& rates) {
  return setup(attrs, adam_settings<Nadam>(attrs, rates),
               {{"momentums", "m"}, {"velocities", "v"}});
}

RuleSetup rmsprop(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               RMSProp{.learning_rate = rate(attrs, 1e-3, rates),
                       .rho = number_or(attrs, "rho", 0.9),
                       .momentum = number_or(attrs, "momentum", 0),
                       .epsilon = number_or(attrs, "epsilon", 1e-7),
                       .centered = flag_or(attrs, "centered", false),
                       .weight_decay = decay(attrs),
                       .decay = Decay::decoupled,
                       .form = RuleForm::keras},
               {{"velocities", "rms"}, {"average_gradients", "mean"}, {"momentums", "momentum"}});
}

RuleSetup adagrad(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adagrad{.learning_rate = rate(attrs, 1e-3, rates),
                       .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0.1),
                       .epsilon = number_or(attrs, "epsilon", 1e-7),
                       .weight_decay = decay(attrs),
                       .decay = Decay::decoupled,
                       .form = RuleForm::keras},
               {{"accumulators", "accumulator"}});
}

RuleSetup adadelta(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adadelta{.learning_rate = rate(attrs, 1e-3, rates),
                        .rho = number_or(attrs, "rho", 0.95),
                        .epsilon = number_or(attrs, "epsilon", 1e-7),
                        .weight_decay = decay(attrs),
                        .decay = Decay::decoupled},
               {{"accumulated_grads", "square"}, {"accumulated_delta_vars", "step"}});
}

RuleSetup lion(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Lion{.learning_rate = rate(attrs, 1e-3, rates),
                    .beta1 = number_or(attrs, "beta_1", 0.9),
                    .beta2 = number_or(attrs, "beta_2", 0.99),
                    .weight_decay = decay(attrs)},
               {{"momentums", "m"}});
}

RuleSetup lamb(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Lamb{.learning_rate = rate(attrs, 1e-3, rates),
                    .beta1 = number_or(attrs, "beta_1", 0.9),
                    .beta2 = number_or(attrs, "beta_2", 0.999),
                    .epsilon = number_or(attrs, "epsilon", 1e-7),
                    .weight_decay = decay(attrs),
                    .form = RuleForm::keras},
               {{"momentums", "m"}, {"velocities", "v"}});
}

RuleSetup ftrl(const Json& attrs, const Rates& rates) {
  unset(attrs, {"weight_decay"});
  return setup(attrs,
               Ftrl{.learning_rate = rate(attrs, 1e-3, rates),
                    .learning_rate_power = number_or(attrs, "learning_rate_power", -0.5),
                    .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0.1),
                    .l1 = number_or(attrs, "l1_regularization_strength", 0),
                    .l2 = number_or(attrs, "l2_regularization_strength", 0),
                    .l2_shrinkage = number_or(attrs, "l2_shrinkage_regularization_strength", 0),
                    .beta = number_or(attrs, "beta", 0)},
               {{"accumulators", "accumulator"}, {"linears", "linear"}});
}

RuleSetup adafactor(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adafactor{.learning_rate = rate(attrs, 1e-3, rates),
                         .beta2_decay = number_or(attrs, "beta_2_decay", -0.8),
                         .epsilon1 = number_or(attrs, "epsilon_1", 1e-30),
                         .epsilon2 = number_or(attrs, "epsilon_2", 1e-3),
                         .clip_threshold = number_or(attrs, "clip_threshold", 1),
                         .weight_decay = decay(attrs)},
               {});
}

RuleReader reader(std::string_view op, Names attrs,
                  RuleSetup (*make)(const Json& attrs, const Rates& rates)) {
  attrs.push_back("learning_rate");
  attrs.insert(attrs.end(), kCommon.begin(), kCommon.end());
  return {op, "keras", attrs, make};
}

}  // namespace

std::vector<RuleReader> keras_rules() {
  return {
      reader("SGD", {"momentum", "nesterov"}, sgd),
      reader("Adam", {"beta_1", "beta_2", "epsilon", "amsgrad"}, adam),
      reader("AdamW", {"beta_1", "beta_2", "epsilon", "amsgrad"}, adamw),
      reader("Adamax", {"beta_1", "beta_2", "epsilon"}, adamax),
      reader("Nadam", {"beta_1", "beta_2", "epsilon"}, nadam),
      reader("RMSprop", {"rho", "momentum", "epsilon", "centered"}, rmsprop),
      reader("Adagrad", {"initial_accumulator_value", "epsilon"}, adagrad),
      reader("Adadelta", {"rho", "epsilon"}, adadelta),
      reader("Lion", {"beta_1", "beta_2"}, lion),
      reader("Lamb", {"beta_1", "beta_2", "epsilon"}, lamb),
      reader("Ftrl",
             {"learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
              "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta"},
             ftrl),
      reader("Adafactor",
             {"beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"},
             adafactor),
  };
}

}  // namespace golden
