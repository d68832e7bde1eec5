// A log of JSON objects, one a line.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "rein/base/fields.h"

namespace rein {

/// Names and values in the order in which they are to be read.
using JsonValue = FieldValue;
using JsonObject = std::vector<std::pair<std::string, JsonValue>>;

/// One line, without its end. JSON has no NaN and no infinities: they become null.
std::string to_json(const JsonObject& object);
/// The same of whatever lists its fields: `to_json(settings_of(step_info))`.
std::string to_json(const Settings& fields);

/// Appends lines to a file; each is complete in the file when `append` returns.
class JsonLines {
 public:
  /// Opens the file, or makes it. Throws IoError.
  explicit JsonLines(const std::filesystem::path& path);
  void append(const JsonObject& object);
  void append(const Settings& fields);

 private:
  void append_line(const std::string& line);

  std::string path_;
  std::ofstream file_;
};

}  // namespace rein
