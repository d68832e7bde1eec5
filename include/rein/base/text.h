// Help for error texts, and names by pattern.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rein {

/// `; did you mean 'x'?` with the nearest of `names`, or nothing when none is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> names);

/// Whether a name fits a pattern: `*` stands for any characters (also none, also `/`), `?` for one,
/// everything else for itself.
bool matches(std::string_view pattern, std::string_view name);

}  // namespace rein
