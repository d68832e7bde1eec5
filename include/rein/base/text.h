// Help for error texts.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rein {

/// `; did you mean 'x'?` with the nearest of `names`, or nothing when none is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> names);

}  // namespace rein
