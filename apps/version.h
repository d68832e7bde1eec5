#pragma once

#include <string_view>

namespace rein::app {
inline constexpr std::string_view kVersion = REIN_VERSION;
}
