// What the settings of other libraries' optimizers are called here.
#pragma once

#include <functional>
#include <optional>

#include "golden.h"
#include "rein/apply/rule.h"
#include "rein/process/transform.h"

namespace golden {

/// A slot of the file, and what it is called here.
struct SlotName {
  std::string theirs, ours;
};

struct RuleSetup {
  rein::AnyRule rule;
  rein::Chain process{};  // what their optimizer does to the gradients before its update
  std::vector<SlotName> slots{};
  /// The steps of a variable, where the file has them as a slot.
  std::function<int64_t(rein::AnyRule::State&, size_t variable)> steps{};
};

/// One optimizer of another library: `make` throws Skip for settings that cannot be expressed.
struct RuleReader {
  std::string_view op, semantics;
  Names attrs;
  RuleSetup (*make)(const Json& attrs, const std::vector<double>& learning_rates);
};

const std::vector<RuleReader>& rule_readers();

/// The optimizer that `settings` describes, with its name in "op".
RuleSetup read_rule(std::string_view semantics, const Json& settings);

}  // namespace golden
