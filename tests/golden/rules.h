// What the settings of other libraries' optimizers are called here.
#pragma once

#include <functional>

#include "golden.h"
#include "rein/apply/rule.h"
#include "rein/apply/rules.h"
#include "rein/process/transform.h"

namespace golden {

/// A slot of the file, and what it is called here.
struct SlotName {
  std::string theirs, ours;
};

/// A slot of the file that is one number for each variable.
struct Scalar {
  std::string theirs;
  std::function<double(rein::AnyRule::State&, size_t variable)> read;
};

struct RuleSetup {
  rein::AnyRule rule;
  rein::Chain process{};  // what their optimizer does to the gradients before its update
  std::vector<SlotName> slots{};
  std::vector<Scalar> scalars{};
  size_t micro_batches = 1;  // whose mean gradient an update takes
};

/// One for each step, or none.
using Rates = std::vector<double>;

/// One optimizer of another library: `make` throws Skip for settings that cannot be expressed.
struct RuleReader {
  std::string_view op, semantics;
  Names attrs;
  RuleSetup (*make)(const Json& attrs, const Rates& learning_rates);
};

std::vector<RuleReader> tensorflow_rules();
std::vector<RuleReader> keras_rules();
std::vector<RuleReader> pytorch_rules();
std::vector<RuleReader> optax_rules();
const std::vector<RuleReader>& rule_readers();  // all of them

/// The learning rate: one for each step, or the setting of this name.
rein::Schedule rate_or(const Json& attrs, std::string_view name, double otherwise,
                       const Rates& rates);

/// What rules of Adam's kind have in common, by the names that it has there; the rest of R as it
/// is.
template <class R>
R adam_settings(const Json& attrs, rein::Schedule rate, std::string_view beta1,
                std::string_view beta2, std::string_view epsilon, double otherwise = 1e-8) {
  return {.learning_rate = std::move(rate),
          .beta1 = number_or(attrs, beta1, 0.9),
          .beta2 = number_or(attrs, beta2, 0.999),
          .epsilon = number_or(attrs, epsilon, otherwise)};
}

/// The optimizer that `settings` describes, with its name in "op".
RuleSetup read_rule(std::string_view semantics, const Json& settings);

}  // namespace golden
