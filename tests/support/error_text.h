// What a test says about an error.
#pragma once

#include <string>
#include <string_view>

#include "rein/base/error.h"

namespace rein::test {

/// The text of the InvalidArgument that `f` throws, without the ` (file:line)` at its end, or
/// "nothing thrown".
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    return text.substr(0, text.rfind(" ("));
  }
  return "nothing thrown";
}

/// Whether the error names `file` and `line` as the caller's place.
template <class F>
bool names_place(F&& f, std::string_view file, int line) {
  try {
    f();
  } catch (const InvalidArgument& error) {
    return std::string_view(error.what())
        .ends_with("(" + std::string(file) + ":" + std::to_string(line) + ")");
  }
  return false;
}

}  // namespace rein::test
