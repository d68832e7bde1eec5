// A JSON document as a small tree. Numbers keep the text they have in the file, so that each is
// read straight into its own type.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace golden {

struct Json {
  enum class Kind { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  std::string text{};               // of a number, a string, a boolean ("true", "false")
  std::vector<std::string> keys{};  // of an object, in the order of the file
  std::vector<Json> items{};        // of an array, or the values of an object

  bool is(Kind k) const { return kind == k; }
  bool is_null() const { return kind == Kind::null; }
  /// A number, or one of the strings that stand for those that JSON has not.
  bool is_number() const;

  /// The member of this name, or nothing.
  const Json* find(std::string_view key) const;
  /// The member of this name; throws std::runtime_error if there is none.
  const Json& at(std::string_view key) const;

  /// The number rounded once to `T` (float, double or int64_t); "nan", "inf" and "-inf" too. Throws
  /// std::runtime_error if this is something else.
  template <class T>
  T as() const;
  bool boolean() const;
  const std::string& string() const;
};

/// Throws std::runtime_error, with the place, if the file cannot be read or is not JSON.
Json read_json(const std::filesystem::path& path);

}  // namespace golden
