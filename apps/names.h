// Clips and rules by the names that command lines and settings files give them.
#pragma once

#include <string>
#include <string_view>

#include "rein/apply/rule.h"
#include "rein/process/transform.h"

namespace rein::app {

/// `none`, or the name of a clip and its number, as in `global:5`; all of them measure the norm.
/// Throws UsageError with the list of them.
AnyTransform make_clip(std::string_view form);

/// A rule by its name in lower case, with its own defaults but for the learning rate, which is the
/// initial step of `rprop`. Throws UsageError for an unknown name.
AnyRule make_rule(std::string_view name, double learning_rate);
/// The names, comma between.
std::string rule_names();

}  // namespace rein::app
