// A log of JSON objects, one a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rein {

/// Names and values in the order in which they are to be read.
using JsonValue = std::variant<bool, int64_t, double, std::string, std::vector<double>>;
using JsonObject = std::vector<std::pair<std::string_view, JsonValue>>;

/// One line, without its end. JSON has no NaN and no infinities: they become null.
std::string to_json(const JsonObject& object);

/// Appends lines to a file; each is complete in the file when `append` returns.
class JsonLines {
 public:
  /// Opens the file, or makes it. Throws IoError.
  explicit JsonLines(const std::filesystem::path& path);
  void append(const JsonObject& object);

 private:
  std::string path_;
  std::ofstream file_;
};

}  // namespace rein
