#include "rules.h"

#include "rein/apply/rules.h"
#include "rein/process/clip.h"

namespace golden {
namespace {

using rein::Adam;
using rein::AdamForm;
using rein::GradientDescent;
using rein::Momentum;
using rein::MomentumForm;
using rein::Schedule;
using rein::Semantics;

using Rates = std::vector<double>;

// The learning rate: one for each step, or the setting of this name.
Schedule rate(const Json& attrs, std::string_view name, double otherwise, const Rates& rates) {
  if (rates.empty()) return number_or(attrs, name, otherwise);
  return [rates](int64_t step) { return rates.at(static_cast<size_t>(step)); };
}

// ---------------------------------------------------------------- TensorFlow

RuleSetup gradient_descent(const Json& attrs, const Rates& rates) {
  return {.rule = GradientDescent{.learning_rate = rate(attrs, "learning_rate", 0.01, rates)}};
}

RuleSetup momentum(const Json& attrs, const Rates& rates) {
  return {.rule = Momentum{.learning_rate = rate(attrs, "learning_rate", 0.01, rates),
                           .momentum = attrs.at("momentum").as<double>(),
                           .use_nesterov = flag_or(attrs, "use_nesterov", false)},
          .slots = {{"momentum", "momentum"}}};
}

RuleSetup adam(const Json& attrs, const Rates& rates) {
  return {.rule = Adam{.learning_rate = rate(attrs, "learning_rate", 1e-3, rates),
                       .beta1 = number_or(attrs, "beta1", 0.9),
                       .beta2 = number_or(attrs, "beta2", 0.999),
                       .epsilon = number_or(attrs, "epsilon", 1e-8),
                       .form = AdamForm::tensorflow},
          .slots = {{"m", "m"}, {"v", "v"}}};
}

// ---------------------------------------------------------------- Keras

// The clips inside an optimizer; a threshold that is not positive switches them off.
rein::Chain keras_clip(const Json& attrs) {
  rein::Chain chain;
  const Semantics semantics = Semantics::tensorflow;
  if (const double c = number_or(attrs, "clipnorm", 0); c > 0)
    chain.parts.push_back(rein::ClipByNorm{.clip_norm = c, .semantics = semantics});
  if (const double c = number_or(attrs, "global_clipnorm", 0); c > 0)
    chain.parts.push_back(rein::ClipByGlobalNorm{.clip_norm = c, .semantics = semantics});
  if (const double c = number_or(attrs, "clipvalue", 0); c > 0)
    chain.parts.push_back(rein::ClipByValue{.min = -c, .max = c, .semantics = semantics});
  return chain;
}

RuleSetup keras_sgd(const Json& attrs, const Rates& rates) {
  unset(attrs, {"weight_decay", "use_ema", "loss_scale_factor", "gradient_accumulation_steps"});
  const Schedule learning_rate = rate(attrs, "learning_rate", 0.01, rates);
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0)
    return {.rule = GradientDescent{.learning_rate = learning_rate}, .process = keras_clip(attrs)};
  return {.rule = Momentum{.learning_rate = learning_rate,
                           .momentum = m,
                           .use_nesterov = flag_or(attrs, "nesterov", false),
                           .form = MomentumForm::keras},
          .process = keras_clip(attrs),
          .slots = {{"momentums", "momentum"}}};
}

RuleSetup keras_adam(const Json& attrs, const Rates& rates) {
  unset(attrs,
        {"weight_decay", "use_ema", "loss_scale_factor", "gradient_accumulation_steps", "amsgrad"});
  return {.rule = Adam{.learning_rate = rate(attrs, "learning_rate", 1e-3, rates),
                       .beta1 = number_or(attrs, "beta_1", 0.9),
                       .beta2 = number_or(attrs, "beta_2", 0.999),
                       .epsilon = number_or(attrs, "epsilon", 1e-7),
                       .form = AdamForm::keras},
          .process = keras_clip(attrs),
          .slots = {{"momentums", "m"}, {"velocities", "v"}}};
}

// ---------------------------------------------------------------- PyTorch

RuleSetup torch_sgd(const Json& attrs, const Rates& rates) {
  unset(attrs, {"weight_decay", "maximize"});
  const Schedule learning_rate = rate(attrs, "lr", 1e-3, rates);
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0) return {.rule = GradientDescent{.learning_rate = learning_rate}};
  return {.rule = Momentum{.learning_rate = learning_rate,
                           .momentum = m,
                           .use_nesterov = flag_or(attrs, "nesterov", false),
                           .dampening = number_or(attrs, "dampening", 0),
                           .form = MomentumForm::pytorch},
          .slots = {{"momentum_buffer", "momentum"}}};
}

int64_t steps_of_adam(rein::AnyRule::State& state, size_t variable) {
  return state.as<Adam::State>().counts[variable];
}

RuleSetup torch_adam(const Json& attrs, const Rates& rates) {
  unset(attrs, {"weight_decay", "amsgrad", "maximize"});
  Adam adam{.learning_rate = rate(attrs, "lr", 1e-3, rates),
            .epsilon = number_or(attrs, "eps", 1e-8),
            .form = AdamForm::pytorch};
  if (const Json* betas = attrs.find("betas")) {
    adam.beta1 = betas->items.at(0).as<double>();
    adam.beta2 = betas->items.at(1).as<double>();
  }
  return {.rule = adam, .slots = {{"exp_avg", "m"}, {"exp_avg_sq", "v"}}, .steps = steps_of_adam};
}

// ---------------------------------------------------------------- Optax

RuleSetup optax_sgd(const Json& attrs, const Rates& rates) {
  const Schedule learning_rate = rate(attrs, "learning_rate", 0, rates);
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0) return {.rule = GradientDescent{.learning_rate = learning_rate}};
  return {.rule = Momentum{.learning_rate = learning_rate,
                           .momentum = m,
                           .use_nesterov = flag_or(attrs, "nesterov", false)},
          .slots = {{"trace", "momentum"}}};
}

RuleSetup optax_adam(const Json& attrs, const Rates& rates) {
  unset(attrs, {"eps_root", "nesterov"});
  RuleSetup setup{.rule = Adam{.learning_rate = rate(attrs, "learning_rate", 0, rates),
                               .beta1 = number_or(attrs, "b1", 0.9),
                               .beta2 = number_or(attrs, "b2", 0.999),
                               .epsilon = number_or(attrs, "eps", 1e-8),
                               .form = AdamForm::pytorch},
                  .slots = {{"mu", "m"}, {"nu", "v"}}};
  if (const Json* clip = attrs.find("clip_by_global_norm"))
    setup.process = rein::chain(rein::ClipByGlobalNorm{.clip_norm = clip->as<double>()});
  return setup;
}

}  // namespace

const std::vector<RuleReader>& rule_readers() {
  static const std::vector<RuleReader> readers{
      {"GradientDescentOptimizer", "tensorflow", {"learning_rate"}, gradient_descent},
      {"MomentumOptimizer", "tensorflow", {"learning_rate", "momentum", "use_nesterov"}, momentum},
      {"AdamOptimizer", "tensorflow", {"learning_rate", "beta1", "beta2", "epsilon"}, adam},
      {"SGD",
       "keras",
       {"learning_rate", "momentum", "nesterov", "weight_decay", "clipnorm", "global_clipnorm",
        "clipvalue", "use_ema", "loss_scale_factor", "gradient_accumulation_steps"},
       keras_sgd},
      {"Adam",
       "keras",
       {"learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay", "clipnorm",
        "global_clipnorm", "clipvalue", "use_ema", "loss_scale_factor",
        "gradient_accumulation_steps"},
       keras_adam},
      {"SGD",
       "pytorch",
       {"lr", "momentum", "nesterov", "weight_decay", "dampening", "maximize"},
       torch_sgd},
      {"Adam",
       "pytorch",
       {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"},
       torch_adam},
      {"sgd", "optax", {"learning_rate", "momentum", "nesterov"}, optax_sgd},
      {"adam",
       "optax",
       {"learning_rate", "b1", "b2", "eps", "eps_root", "nesterov", "clip_by_global_norm"},
       optax_adam},
  };
  return readers;
}

RuleSetup read_rule(std::string_view semantics, const Json& settings) {
  const auto& op = settings.at("op").string();
  for (const auto& reader : rule_readers()) {
    if (reader.op != op || reader.semantics != semantics) continue;
    Names known = reader.attrs;
    known.push_back("op");
    only(settings, known, "attribute");
    return reader.make(settings, {});
  }
  throw Skip("optimizer '" + op + "' of '" + std::string(semantics) + "' is not built yet");
}

}  // namespace golden
