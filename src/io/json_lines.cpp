#include "rein/io/json_lines.h"

#include <nlohmann/json.hpp>

#include "rein/base/error.h"

namespace rein {

std::string to_json(const JsonObject& object) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, value] : object)
    std::visit([&, &key = name](const auto& v) { json[key] = v; }, value);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string to_json(const Settings& fields) {
  JsonObject object;
  for (const Field& field : fields.fields) object.emplace_back(field.name, field.value);
  return to_json(object);
}

JsonLines::JsonLines(const std::filesystem::path& path)
    : path_(path.string()), file_(path, std::ios::app) {
  if (!file_) throw IoError(path_, "cannot open it to append lines");
}

void JsonLines::append(const JsonObject& object) { append_line(to_json(object)); }
void JsonLines::append(const Settings& fields) { append_line(to_json(fields)); }

void JsonLines::append_line(const std::string& line) {
  file_ << line << '\n' << std::flush;
  if (!file_) throw IoError(path_, "cannot append a line to it; is the disk full?");
}

}  // namespace rein
