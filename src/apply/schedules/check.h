// Settings of schedules that make no sense.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "rein/base/error.h"

namespace rein {

inline void require(bool holds, std::string_view schedule, std::string_view setting,
                    std::string_view wish, double got, Where where) {
  if (!holds)
    throw InvalidArgument(schedule, fmt::format("{} must be {}, got {}", setting, wish, got),
                          where);
}

inline void require_finite(std::string_view schedule, std::string_view setting, double got,
                           Where where) {
  require(std::isfinite(got), schedule, setting, "a finite number", got, where);
}

inline void require_positive(std::string_view schedule, std::string_view setting, double got,
                             Where where) {
  require(got > 0 && std::isfinite(got), schedule, setting, "a finite number above 0", got, where);
}

}  // namespace rein
