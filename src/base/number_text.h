#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace rein {

/// With all its digits. The sign of a NaN, which says nothing, is left away.
inline std::string number_text(double number) {
  return std::isnan(number) ? "nan" : fmt::format("{}", number);
}

}  // namespace rein
