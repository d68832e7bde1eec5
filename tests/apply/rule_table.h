// Every rule in every form, for tests of what holds for all of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "process/numbers.h"
#include "rein/apply/apply.h"
#include "rein/apply/rules.h"
#include "rein/process/clip.h"

namespace rein {

struct RuleRow {
  std::string name;
  AnyRule rule;
  bool by_rows = false;  // whether rows of a sparse gradient of the first variable are moved alone
};

/// None of the settings does nothing. Patterns of the groups: they must match a variable.
inline std::vector<RuleRow> rule_table(const Schedule& rate = 0.05,
                                       const std::string& first_group = "*",
                                       const std::string& second_group = "*") {
  const auto tensorflow = RuleForm::tensorflow, keras = RuleForm::keras;
  const auto pytorch = RuleForm::pytorch, optax = RuleForm::optax;
  const auto rows = SparseUpdate::rows;
  const auto decoupled = Decay::decoupled;
  return {
      {"descent", GradientDescent{.learning_rate = rate, .weight_decay = 0.1}, true},
      {"descent dense",
       GradientDescent{.learning_rate = rate, .weight_decay = 0.1, .sparse = SparseUpdate::dense}},
      {"momentum", Momentum{.learning_rate = rate, .weight_decay = 0.1, .decay = decoupled}, true},
      {"momentum keras",
       Momentum{.learning_rate = rate, .use_nesterov = true, .weight_decay = 0.1, .form = keras}},
      {"momentum pytorch", Momentum{.learning_rate = rate, .dampening = 0.2, .form = pytorch}},
      {"adam", Adam{.learning_rate = rate}},
      {"adam keras", Adam{.learning_rate = rate, .amsgrad = true, .form = keras}},
      {"adam pytorch", Adam{.learning_rate = rate, .weight_decay = 0.1, .form = pytorch}},
      {"adam optax", Adam{.learning_rate = rate, .epsilon_root = 1e-6, .form = optax}},
      {"adam lazy", Adam{.learning_rate = rate, .sparse = rows}, true},
      {"adamw", AdamW{.learning_rate = rate, .weight_decay = 0.1}},
      {"adamw optax", AdamW{.learning_rate = rate, .amsgrad = true, .form = optax}},
      {"adamw lazy", AdamW{.learning_rate = rate, .amsgrad = true, .sparse = rows}, true},
      {"adamax", Adamax{.learning_rate = rate, .weight_decay = 0.1}},
      {"adamax keras", Adamax{.learning_rate = rate, .form = keras, .sparse = rows}, true},
      {"nadam", Nadam{.learning_rate = rate, .weight_decay = 0.1}},
      {"nadam tensorflow", Nadam{.learning_rate = rate, .form = tensorflow, .sparse = rows}, true},
      {"nadam keras", Nadam{.learning_rate = rate, .form = keras}},
      {"nadam optax", Nadam{.learning_rate = rate, .form = optax}},
      {"radam", RAdam{.learning_rate = rate, .beta2 = 0.8, .weight_decay = 0.1}},
      {"radam optax", RAdam{.learning_rate = rate, .beta2 = 0.8, .form = optax, .sparse = rows},
       true},
      {"rmsprop", RMSProp{.learning_rate = rate, .momentum = 0.5, .epsilon = 0.1}, true},
      {"rmsprop keras", RMSProp{.learning_rate = rate,
                                .epsilon = 0.1,
                                .centered = true,
                                .weight_decay = 0.1,
                                .decay = decoupled,
                                .form = keras}},
      {"rmsprop pytorch", RMSProp{.learning_rate = rate, .momentum = 0.5, .form = pytorch}},
      {"rmsprop optax", RMSProp{.learning_rate = rate, .epsilon_in_root = false, .form = optax}},
      {"rmsprop nesterov",
       RMSProp{.learning_rate = rate, .momentum = 0.5, .use_nesterov = true, .form = optax}},
      {"adagrad", Adagrad{.learning_rate = rate, .weight_decay = 0.1}, true},
      {"adagrad keras", Adagrad{.learning_rate = rate, .form = keras}},
      {"adagrad pytorch", Adagrad{.learning_rate = rate, .rate_decay = 0.1, .form = pytorch}, true},
      {"adagrad optax", Adagrad{.learning_rate = rate, .form = optax}},
      {"adadelta", Adadelta{.learning_rate = rate, .weight_decay = 0.1}},
      {"adadelta lazy", Adadelta{.learning_rate = rate, .sparse = rows}, true},
      {"ftrl", Ftrl{.learning_rate = rate, .l1 = 0.01, .l2 = 0.01, .l2_shrinkage = 0.01}, true},
      {"ftrl power", Ftrl{.learning_rate = rate, .learning_rate_power = -0.4, .beta = 0.1}, true},
      {"lion", Lion{.learning_rate = rate, .weight_decay = 0.1}},
      {"lion lazy", Lion{.learning_rate = rate, .sparse = rows}, true},
      {"rprop", Rprop{}},
      {"rprop lazy", Rprop{.sparse = rows}, true},
      {"lamb", Lamb{.learning_rate = rate, .weight_decay = 0.1}},
      {"lamb keras", Lamb{.learning_rate = rate, .weight_decay = 0.1, .form = keras}},
      {"lars", Lars{.learning_rate = rate, .use_nesterov = true, .weight_decay = 0.1}},
      {"lars optax", Lars{.learning_rate = rate, .weight_decay = 0.1, .form = optax}},
      {"adafactor", Adafactor{.learning_rate = rate, .weight_decay = 0.1}},
      {"adafactor pytorch", Adafactor{.learning_rate = rate, .form = pytorch}},
      {"adafactor elements", Adafactor{.learning_rate = rate, .min_factored = 128}},
      {"muon", Muon{.learning_rate = rate, .weight_decay = 0.1, .column_blocks = 2}},
      {"muon optax", Muon{.learning_rate = rate, .scale = MuonScale::rms, .form = optax}},
      {"schedule free", ScheduleFreeAdamW{.learning_rate = rate, .weight_decay = 0.1}},
      {"average", WeightAverage{.rule = Adam{.learning_rate = rate}}},
      {"lookahead", Lookahead{.rule = Lion{.learning_rate = rate}, .sync_period = 3}},
      {"lookahead reset",
       Lookahead{.rule = Adam{.learning_rate = rate}, .sync_period = 3, .reset_state = true}},
      {"clipped updates",
       ClipUpdates{.rule = Adam{.learning_rate = rate, .sparse = rows},
                   .clip = MaxChange{.per_variable = 0.05, .global = 0.06}},
       true},
      {"groups",
       RuleGroups{.groups = {{first_group, Adagrad{.learning_rate = rate}},
                             {second_group, Adam{.learning_rate = rate}}},
                  .otherwise = Lamb{.learning_rate = rate}},
       true},
  };
}

/// Everything there is to know after a step, by name: weights and what the rule remembers.
inline std::map<std::string, std::vector<double>> everything(Variables& vars,
                                                             const AnyRule::State& state) {
  std::map<std::string, std::vector<double>> all;
  for (size_t i = 0; i < vars.size(); ++i)
    all["weights/" + vars[i].name()] = numbers(vars[i].read());
  StateDict saved;
  state.save("rule", saved);
  for (const auto& [name, value] : saved) {
    if (const auto* tensor = std::get_if<Tensor>(&value)) all[name] = numbers(*tensor);
    if (const auto* whole = std::get_if<int64_t>(&value)) all[name] = {static_cast<double>(*whole)};
    if (const auto* number = std::get_if<double>(&value)) all[name] = {*number};
  }
  return all;
}

}  // namespace rein
