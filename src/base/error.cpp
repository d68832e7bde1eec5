#include "rein/base/error.h"

#include <fmt/core.h>

namespace rein {

InvalidArgument::InvalidArgument(std::string_view op, std::string_view what, Where where)
    : Error(where.line == 0 ? fmt::format("{}: {}", op, what)
                            : fmt::format("{}: {} ({}:{})", op, what, where.file, where.line)) {}

DataError::DataError(std::string_view path, std::string_view place, std::string_view what)
    : Error(fmt::format("{}: {}: {}", path, place, what)) {}

IoError::IoError(std::string_view path, std::string_view what)
    : Error(fmt::format("{}: {}", path, what)) {}

}  // namespace rein
