// Errors of transforms and rules, which do not see the caller, get the caller's place.
#pragma once

#include <string_view>

#include "rein/base/error.h"

namespace rein {

template <class F>
decltype(auto) placed(std::string_view op, Where where, F&& f) {
  try {
    return f();
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(op, error.what(), where);
  }
}

}  // namespace rein
