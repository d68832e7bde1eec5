// tf.train's optimizers in our terms.
#include "rules.h"

namespace golden {
namespace {

using namespace rein;

RuleSetup gradient_descent(const Json& attrs, const Rates& rates) {
  return {.rule = GradientDescent{.learning_rate = rate_or(attrs, "learning_rate", 0.01, rates)}};
}

RuleSetup momentum(const Json& attrs, const Rates& rates) {
  return {.rule = Momentum{.learning_rate = rate_or(attrs, "learning_rate", 0.01, rates),
                           .momentum = attrs.at("momentum").as<double>(),
                           .use_nesterov = flag_or(attrs, "use_nesterov", false)},
          .slots = {{"momentum", "momentum"}}};
}

template <class R>
RuleSetup adam_of(const Json& attrs, const Rates& rates) {
  R rule = adam_settings<R>(attrs, rate_or(attrs, "learning_rate", 1e-3, rates), "beta1", "beta2",
                            "epsilon");
  rule.form = RuleForm::tensorflow;
  return {.rule = rule, .slots = {{"m", "m"}, {"v", "v"}}};
}

RuleSetup rmsprop(const Json& attrs, const Rates& rates) {
  const double m = number_or(attrs, "momentum", 0);
  RuleSetup setup{.rule = RMSProp{.learning_rate = rate_or(attrs, "learning_rate", 1e-3, rates),
                                  .rho = number_or(attrs, "decay", 0.9),
                                  .momentum = m,
                                  .epsilon = number_or(attrs, "epsilon", 1e-10),
                                  .centered = flag_or(attrs, "centered", false)},
                  .slots = {{"rms", "rms"}, {"mg", "mean"}}};
  // Without momentum theirs remembers the last step, ours nothing.
  setup.slots.push_back({"momentum", m == 0 ? "" : "momentum"});
  return setup;
}

RuleSetup adagrad(const Json& attrs, const Rates& rates) {
  return {
      .rule = Adagrad{.learning_rate = rate_or(attrs, "learning_rate", 1e-3, rates),
                      .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0.1)},
      .slots = {{"accumulator", "accumulator"}}};
}

RuleSetup adadelta(const Json& attrs, const Rates& rates) {
  return {.rule = Adadelta{.learning_rate = rate_or(attrs, "learning_rate", 1e-3, rates),
                           .rho = number_or(attrs, "rho", 0.95),
                           .epsilon = number_or(attrs, "epsilon", 1e-8),
                           .sparse = SparseUpdate::rows},
          .slots = {{"accum", "square"}, {"accum_update", "step"}}};
}

RuleSetup ftrl(const Json& attrs, const Rates& rates) {
  return {.rule = Ftrl{.learning_rate = rate_or(attrs, "learning_rate", 1e-3, rates),
                       .learning_rate_power = number_or(attrs, "learning_rate_power", -0.5),
                       .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0.1),
                       .l1 = number_or(attrs, "l1_regularization_strength", 0),
                       .l2 = number_or(attrs, "l2_regularization_strength", 0),
                       .l2_shrinkage = number_or(attrs, "l2_shrinkage_regularization_strength", 0)},
          .slots = {{"accum", "accumulator"}, {"linear", "linear"}}};
}

}  // namespace

std::vector<RuleReader> tensorflow_rules() {
  const std::string_view tf = "tensorflow";
  return {
      {"GradientDescentOptimizer", tf, {"learning_rate"}, gradient_descent},
      {"MomentumOptimizer", tf, {"learning_rate", "momentum", "use_nesterov"}, momentum},
      {"AdamOptimizer", tf, {"learning_rate", "beta1", "beta2", "epsilon"}, adam_of<Adam>},
      {"NadamOptimizer", tf, {"learning_rate", "beta1", "beta2", "epsilon"}, adam_of<Nadam>},
      {"RMSPropOptimizer",
       tf,
       {"learning_rate", "decay", "momentum", "epsilon", "centered"},
       rmsprop},
      {"AdagradOptimizer", tf, {"learning_rate", "initial_accumulator_value"}, adagrad},
      {"AdadeltaOptimizer", tf, {"learning_rate", "rho", "epsilon"}, adadelta},
      {"FtrlOptimizer",
       tf,
       {"learning_rate", "learning_rate_power", "initial_accumulator_value",
        "l1_regularization_strength", "l2_regularization_strength",
        "l2_shrinkage_regularization_strength"},
       ftrl},
  };
}

}  // namespace golden
