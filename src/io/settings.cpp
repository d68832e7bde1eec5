#include "rein/io/settings.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "rein/base/error.h"
#include "rein/io/file.h"

namespace rein {
namespace {

constexpr int64_t kMaxBytes = 1 << 20;

std::string to_place(const toml::source_position& p) {
  return fmt::format("line {}, column {}", p.line, p.column);
}

struct Found {
  Setting setting;
  toml::source_position position;
};

void collect(const toml::table& table, const std::string& path, const std::string& prefix,
             std::vector<Found>& found) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const toml::source_position position = key.source().begin;
    const auto add = [&](SettingValue value) {
      found.push_back({{name, std::move(value), to_place(position)}, position});
    };
    if (const auto* inner = node.as_table())
      collect(*inner, path, name + ".", found);
    else if (const auto* boolean = node.as_boolean())
      add(boolean->get());
    else if (const auto* integer = node.as_integer())
      add(integer->get());
    else if (const auto* number = node.as_floating_point())
      add(number->get());
    else if (const auto* text = node.as_string())
      add(text->get());
    else
      throw DataError(path, to_place(position),
                      fmt::format("'{}' is neither a number, nor a text, nor true or false", name));
  }
}

}  // namespace

std::vector<Setting> read_settings(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxBytes);
  std::vector<Found> found;
  try {
    collect(toml::parse(text), path.string(), "", found);
  } catch (const toml::parse_error& e) {
    throw DataError(path.string(), to_place(e.source().begin), e.description());
  }
  std::ranges::sort(found, [](const Found& a, const Found& b) {
    return std::pair(a.position.line, a.position.column) <
           std::pair(b.position.line, b.position.column);
  });
  std::vector<Setting> settings;
  for (Found& f : found) settings.push_back(std::move(f.setting));
  return settings;
}

void write_settings(const std::filesystem::path& path, std::string_view comment,
                    std::span<const Setting> settings) {
  // A table of toml++ forgets the order of its keys, so each line is formatted by itself.
  std::ostringstream out;
  out << "# " << comment << '\n';
  for (const auto& [key, value, place] : settings) {
    toml::table line;
    std::visit([&, name = key](const auto& v) { line.insert(name, v); }, value);
    out << line << '\n';
  }
  write_file_atomically(path, out.str());
}

}  // namespace rein
