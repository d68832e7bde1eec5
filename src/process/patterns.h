// Names of variables and patterns.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "rein/tensor/variables.h"

namespace rein {

/// For each variable the first pattern that matches its name, or their number. Throws
/// InvalidArgument for a pattern that matches none, unless there are no variables yet.
std::vector<size_t> first_matches(std::string_view op, std::span<const std::string_view> patterns,
                                  const Variables& variables);

}  // namespace rein
