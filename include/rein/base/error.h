// Errors that the library throws at its edge, and the caller's place that their texts name.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace rein {

/// The caller's place. A function that can fail takes `Where where = Where::here()` last.
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// The root of everything thrown by the library. `what()` reads
/// `op: what is wrong (file:line of the caller)`; without the place where none is known
/// (`Where{}`).
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A call that cannot be carried out: shapes, dtypes, settings, names. Nothing was changed.
class InvalidArgument final : public Error {
 public:
  InvalidArgument(std::string_view op, std::string_view what, Where where);
};

/// A file whose content is not what it should be: `path: place: what is wrong and the remedy`.
class DataError final : public Error {
 public:
  DataError(std::string_view path, std::string_view place, std::string_view what);
};

/// The system refused to open, read or write a file: `path: what`.
class IoError final : public Error {
 public:
  IoError(std::string_view path, std::string_view what);
};

/// Another rank of a Communicator (rein/dist) failed or is gone.
class RankError final : public Error {
 public:
  using Error::Error;
};

/// The floating-point numbers left the finite range and the chosen policy is to stop.
class NonFiniteError final : public Error {
 public:
  using Error::Error;
};

}  // namespace rein
