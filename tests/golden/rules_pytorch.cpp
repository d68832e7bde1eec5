// torch.optim in our terms.
#include "rules.h"

namespace golden {
namespace {

using namespace rein;

double decay(const Json& attrs) { return number_or(attrs, "weight_decay", 0); }

// A list of two numbers.
double pair_or(const Json& attrs, std::string_view name, size_t index, double otherwise) {
  const Json* list = attrs.find(name);
  return list ? list->items.at(index).as<double>() : otherwise;
}

// `maximize`: the other way.
Chain process(const Json& attrs) {
  if (!flag_or(attrs, "maximize", false)) return {};
  return chain([](Gradients& all, const Variables&, StepInfo&) { all.scale *= -1; });
}

template <class R>
RuleSetup setup(const Json& attrs, R rule, std::vector<SlotName> slots) {
  RuleSetup made{.rule = rule, .process = process(attrs), .slots = std::move(slots)};
  if constexpr (requires(typename R::State s) { s.count; })
    made.scalars.push_back({"step", [](AnyRule::State& state, size_t variable) {
                              return static_cast<double>(
                                  state.as<typename R::State>().count.of[variable]);
                            }});
  if constexpr (std::is_same_v<R, Nadam>)
    made.scalars.push_back({"mu_product", [](AnyRule::State& state, size_t variable) {
                              return state.as<Nadam::State>().mu_products[variable];
                            }});
  return made;
}

RuleSetup sgd(const Json& attrs, const Rates& rates) {
  const Schedule learning_rate = rate_or(attrs, "lr", 1e-3, rates);
  const double m = number_or(attrs, "momentum", 0);
  if (m == 0)
    return setup(attrs,
                 GradientDescent{.learning_rate = learning_rate, .weight_decay = decay(attrs)}, {});
  return setup(attrs,
               Momentum{.learning_rate = learning_rate,
                        .momentum = m,
                        .use_nesterov = flag_or(attrs, "nesterov", false),
                        .dampening = number_or(attrs, "dampening", 0),
                        .weight_decay = decay(attrs),
                        .form = RuleForm::pytorch},
               {{"momentum_buffer", "momentum"}});
}

const std::vector<SlotName> kMeans{
    {"exp_avg", "m"}, {"exp_avg_sq", "v"}, {"max_exp_avg_sq", "v_max"}};

template <class R>
R adam_settings(const Json& attrs, const Rates& rates, double rate = 1e-3) {
  R rule{.learning_rate = rate_or(attrs, "lr", rate, rates),
         .beta1 = pair_or(attrs, "betas", 0, 0.9),
         .beta2 = pair_or(attrs, "betas", 1, 0.999),
         .epsilon = number_or(attrs, "eps", 1e-8)};
  rule.weight_decay = number_or(attrs, "weight_decay", R{}.weight_decay);
  rule.form = RuleForm::pytorch;
  if constexpr (requires { rule.decay; })
    rule.decay =
        flag_or(attrs, "decoupled_weight_decay", false) ? Decay::decoupled : Decay::coupled;
  return rule;
}

template <class R>
RuleSetup adam_of(const Json& attrs, const Rates& rates) {
  R rule = adam_settings<R>(attrs, rates);
  if constexpr (requires { rule.amsgrad; }) rule.amsgrad = flag_or(attrs, "amsgrad", false);
  return setup(attrs, rule, kMeans);
}

RuleSetup adamax(const Json& attrs, const Rates& rates) {
  return setup(attrs, adam_settings<Adamax>(attrs, rates, 2e-3),
               {{"exp_avg", "m"}, {"exp_inf", "u"}});
}

RuleSetup nadam(const Json& attrs, const Rates& rates) {
  Nadam rule = adam_settings<Nadam>(attrs, rates, 2e-3);
  rule.momentum_decay = number_or(attrs, "momentum_decay", 4e-3);
  return setup(attrs, rule, kMeans);
}

RuleSetup rmsprop(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               RMSProp{.learning_rate = rate_or(attrs, "lr", 0.01, rates),
                       .rho = number_or(attrs, "alpha", 0.99),
                       .momentum = number_or(attrs, "momentum", 0),
                       .epsilon = number_or(attrs, "eps", 1e-8),
                       .centered = flag_or(attrs, "centered", false),
                       .weight_decay = decay(attrs),
                       .form = RuleForm::pytorch},
               {{"square_avg", "rms"}, {"grad_avg", "mean"}, {"momentum_buffer", "momentum"}});
}

RuleSetup adagrad(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adagrad{.learning_rate = rate_or(attrs, "lr", 0.01, rates),
                       .initial_accumulator = number_or(attrs, "initial_accumulator_value", 0),
                       .epsilon = number_or(attrs, "eps", 1e-10),
                       .rate_decay = number_or(attrs, "lr_decay", 0),
                       .weight_decay = decay(attrs),
                       .form = RuleForm::pytorch},
               {{"sum", "accumulator"}});
}

RuleSetup adadelta(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adadelta{.learning_rate = rate_or(attrs, "lr", 1, rates),
                        .rho = number_or(attrs, "rho", 0.9),
                        .epsilon = number_or(attrs, "eps", 1e-6),
                        .weight_decay = decay(attrs)},
               {{"square_avg", "square"}, {"acc_delta", "step"}});
}

RuleSetup rprop(const Json& attrs, const Rates&) {
  unset(attrs, {"weight_decay"});
  return setup(attrs,
               Rprop{.initial_step = number_or(attrs, "lr", 0.01),
                     .decrease = pair_or(attrs, "etas", 0, 0.5),
                     .increase = pair_or(attrs, "etas", 1, 1.2),
                     .min_step = pair_or(attrs, "step_sizes", 0, 1e-6),
                     .max_step = pair_or(attrs, "step_sizes", 1, 50)},
               {{"prev", "previous"}, {"step_size", "step"}});
}

RuleSetup sparse_adam(const Json& attrs, const Rates& rates) {
  Adam rule = adam_settings<Adam>(attrs, rates);
  rule.form = RuleForm::keras;
  rule.sparse = SparseUpdate::rows;
  return setup(attrs, rule, kMeans);
}

RuleSetup adafactor(const Json& attrs, const Rates& rates) {
  return setup(attrs,
               Adafactor{.learning_rate = rate_or(attrs, "lr", 0.01, rates),
                         .beta2_decay = number_or(attrs, "beta2_decay", -0.8),
                         .epsilon1 = pair_or(attrs, "eps", 0, 0),
                         .epsilon2 = pair_or(attrs, "eps", 1, 1e-3),
                         .clip_threshold = number_or(attrs, "d", 1),
                         .weight_decay = decay(attrs),
                         .form = RuleForm::pytorch},
               {});
}

RuleSetup muon(const Json& attrs, const Rates& rates) {
  return setup(
      attrs,
      Muon{.learning_rate = rate_or(attrs, "lr", 1e-3, rates),
           .momentum = number_or(attrs, "momentum", 0.95),
           .use_nesterov = flag_or(attrs, "nesterov", true),
           .weight_decay = number_or(attrs, "weight_decay", 0.1),
           .scale = text_or(attrs, "adjust_lr_fn", "original") == "original" ? MuonScale::original
                                                                             : MuonScale::rms},
      {});
}

RuleReader reader(std::string_view op, Names attrs,
                  RuleSetup (*make)(const Json& attrs, const Rates& rates)) {
  attrs.insert(attrs.end(), {"lr", "weight_decay", "maximize"});
  return {op, "pytorch", attrs, make};
}

}  // namespace

std::vector<RuleReader> pytorch_rules() {
  return {
      reader("SGD", {"momentum", "nesterov", "dampening"}, sgd),
      reader("Adam", {"betas", "eps", "amsgrad"}, adam_of<Adam>),
      reader("AdamW", {"betas", "eps", "amsgrad"}, adam_of<AdamW>),
      reader("Adamax", {"betas", "eps"}, adamax),
      reader("NAdam", {"betas", "eps", "momentum_decay", "decoupled_weight_decay"}, nadam),
      reader("RAdam", {"betas", "eps", "decoupled_weight_decay"}, adam_of<RAdam>),
      reader("RMSprop", {"alpha", "momentum", "eps", "centered"}, rmsprop),
      reader("Adagrad", {"eps", "initial_accumulator_value", "lr_decay"}, adagrad),
      reader("Adadelta", {"rho", "eps"}, adadelta),
      reader("Rprop", {"etas", "step_sizes"}, rprop),
      reader("SparseAdam", {"betas", "eps"}, sparse_adam),
      reader("Adafactor", {"beta2_decay", "eps", "d"}, adafactor),
      reader("Muon", {"momentum", "nesterov", "adjust_lr_fn"}, muon),
  };
}

}  // namespace golden
