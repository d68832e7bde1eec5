#include "train/step_shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "process/patterns.h"

namespace rein {

std::optional<Shards> joint_shards(const AnyTransform& process, const AnyRule& rule,
                                   const StepOptions& options, Where where) {
  std::vector<Shards> found;
  process.find_shards(found);
  rule.find_shards(found);
  if (found.empty()) return std::nullopt;
  const auto refuse = [&](bool wrong, const char* what) {
    if (wrong) throw InvalidArgument("record", what, where);
  };
  Shards joint{found[0].communicator, {}};
  for (const Shards& shards : found) {
    refuse(shards.communicator != joint.communicator,
           "shards are of several communicators; name one, that of all parts");
    for (const std::string& pattern : shards.patterns)
      if (std::ranges::find(joint.patterns, pattern) == joint.patterns.end())
        joint.patterns.push_back(pattern);
  }
  refuse(options.communicator && options.communicator == joint.communicator,
         "the communicator of the step has copies on its ranks, that of shards parts; take two");
  refuse(
      options.per_example.has_value(),
      "per_example takes the norm of each example from what this rank holds; it knows no shards");
  refuse(options.sharpness.has_value(),
         "sharpness takes the norm of the gradient from what this rank holds; it knows no shards");
  return joint;
}

Partial partial_variables(const Shards& shards, const Variables& variables, const AnyRule& rule,
                          AnyRule::State& state) {
  const std::vector<std::string_view> patterns(shards.patterns.begin(), shards.patterns.end());
  const std::vector<size_t> matches = first_matches("shards", patterns, variables);
  Partial partial{shards.communicator};
  for (size_t i = 0; i < matches.size(); ++i) {
    if (matches[i] == patterns.size()) continue;
    if (rule.whole_variable(state, i))
      throw InvalidArgument(
          rule.name(),
          fmt::format("it moves '{}' as a whole, of which this rank holds a part, as shards say; "
                      "take a rule of single numbers for it (RuleGroups)",
                      variables.layout().entries[i].name),
          Where{});
    partial.variables.push_back(i);
  }
  return partial;
}

}  // namespace rein
