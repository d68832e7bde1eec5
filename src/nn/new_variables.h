// Checks before a layer adds its variables: afterwards nothing can go wrong half-way.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "rein/tensor/variables.h"

namespace rein {

/// Throws InvalidArgument if one of the variables is there already, or a size is not positive.
inline const std::string& expect_new(std::string_view op, const Variables& variables,
                                     const std::string& name,
                                     std::initializer_list<const char*> suffixes,
                                     std::initializer_list<int64_t> sizes, Where where) {
  for (int64_t size : sizes)
    if (size <= 0)
      throw InvalidArgument(op, "'" + name + "' needs positive sizes, got " + std::to_string(size),
                            where);
  for (const char* suffix : suffixes)
    if (variables.contains(name + suffix))
      throw InvalidArgument(
          op, "a variable named '" + name + suffix + "' exists already; give this one another name",
          where);
  return name;
}

}  // namespace rein
