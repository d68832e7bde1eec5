#include "rein/apply/rules/settings.h"

#include <fmt/format.h>

#include "apply/rules/common.h"

namespace rein {

std::string_view to_string(RuleForm form) {
  switch (form) {
    case RuleForm::tensorflow:
      return "tensorflow";
    case RuleForm::keras:
      return "keras";
    case RuleForm::pytorch:
      return "pytorch";
    case RuleForm::optax:
      return "optax";
  }
  return "unknown";
}

std::string_view to_string(Decay decay) {
  return decay == Decay::coupled ? "coupled" : "decoupled";
}

std::string_view to_string(SparseUpdate sparse) {
  return sparse == SparseUpdate::rows ? "rows" : "dense";
}

void StepCount::advance(const Gradients& gradients) {
  ++steps;
  for (size_t i = 0; i < of.size(); ++i)
    if (!is_absent(gradients, i)) ++of[i];
}

void reject(std::string_view rule, std::string_view setting, std::string_view wish, double got) {
  throw InvalidArgument(rule, fmt::format("{} must be {}, got {}", setting, wish, got), Where{});
}

double checked_rate(std::string_view rule, double rate) {
  check_from_zero(rule, "learning_rate", rate);
  return rate;
}

void check_rate(std::string_view rule, const Schedule& rate) {
  if (rate.is_constant()) checked_rate(rule, rate.at(0));
}

double checked_fraction(std::string_view rule, std::string_view setting, double value) {
  if (!(value >= 0 && value < 1)) reject(rule, setting, "in [0, 1)", value);
  return value;
}

void check_fraction(std::string_view rule, std::string_view setting, const Schedule& value) {
  if (value.is_constant()) checked_fraction(rule, setting, value.at(0));
}

void check_from_zero(std::string_view rule, std::string_view setting, double value) {
  if (!(value >= 0) || std::isinf(value)) reject(rule, setting, "a finite number from 0 on", value);
}

void check_form(std::string_view rule, RuleForm form, std::initializer_list<RuleForm> known) {
  if (std::ranges::find(known, form) != known.end()) return;
  std::string names;
  for (RuleForm f : known) names += fmt::format("{}{}", names.empty() ? "" : ", ", to_string(f));
  throw InvalidArgument(rule, fmt::format("form must be one of {}, got {}", names, to_string(form)),
                        Where{});
}

void check_part(std::string_view rule, const AnyRule& part) {
  if (part.moves_all() || part.sees_deltas())
    throw InvalidArgument(
        rule,
        fmt::format("{0} looks at all variables, so it cannot be the rule of some; put it "
                    "around {1}",
                    part.name(), rule),
        Where{});
}

Part init_part(const AnyRule& rule, const Variables& variables, const std::vector<bool>& own) {
  Part part{rule.init(variables), std::vector<size_t>(variables.size())};
  if (rule.is_composed()) return part;
  for (Slot* slot : rule.slots(part.state)) {
    std::vector<bool> has(variables.size());
    for (size_t k = 0; k < slot->variable_count(); ++k) {
      const size_t i = slot->variable(k).index;
      has[i] = own[i];
    }
    Slot kept(slot->name(), variables, has);
    for (size_t k = 0; k < kept.variable_count(); ++k)
      kept.assign(kept.variable(k), slot->read(kept.variable(k)));
    *slot = std::move(kept);
  }
  const Layout& layout = variables.layout();
  size_t others = 0;  // elements before the variable
  for (size_t i = 0; i < variables.size(); ++i) {
    const size_t end = i + 1 < variables.size() ? layout.entries[i + 1].offset : layout.size;
    part.shift[i] = others;
    if (!own[i]) others += end - layout.entries[i].offset;
  }
  return part;
}

AnyRule::State init_inside(std::string_view around, const AnyRule& rule,
                           const Variables& variables) {
  if (const std::string_view lone = rule.lone_part(); !lone.empty())
    throw InvalidArgument(
        around,
        fmt::format("{0} keeps the parameters between its own average and where it is going, so "
                    "that nothing else may move or average them; train with it alone and evaluate "
                    "with its average, or put AdamW into {1}",
                    lone, around),
        Where{});
  return rule.init(variables);
}

}  // namespace rein
