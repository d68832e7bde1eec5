#include "rules.h"

#include <algorithm>

namespace golden {

rein::Schedule rate_or(const Json& attrs, std::string_view name, double otherwise,
                       const Rates& rates) {
  if (rates.empty()) return number_or(attrs, name, otherwise);
  return [rates](int64_t step) { return rates.at(static_cast<size_t>(step)); };
}

const std::vector<RuleReader>& rule_readers() {
  static const std::vector<RuleReader> readers = [] {
    std::vector<RuleReader> all;
    for (auto rules : {tensorflow_rules, keras_rules, pytorch_rules, optax_rules})
      std::ranges::copy(rules(), std::back_inserter(all));
    return all;
  }();
  return readers;
}

RuleSetup read_rule(std::string_view semantics, const Json& settings) {
  const auto& op = settings.at("op").string();
  for (const auto& reader : rule_readers()) {
    if (reader.op != op || reader.semantics != semantics) continue;
    Names known = reader.attrs;
    known.push_back("op");
    only(settings, known, "attribute");
    RuleSetup made = reader.make(settings, {});
    if (made.micro_batches != 1) throw Skip("a network with micro-batches is not built yet");
    return made;
  }
  throw Skip("optimizer '" + op + "' of '" + std::string(semantics) + "' is not built yet");
}

}  // namespace golden
