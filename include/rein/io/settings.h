// Settings of a run: names and values in a TOML file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rein {

using SettingValue = std::variant<bool, int64_t, double, std::string>;

struct Setting {
  std::string key;  // of a table inside: `table.key`
  SettingValue value;
  std::string place{};  // where it was read: `line 3, column 1`
};

/// The settings of a TOML file in the order in which they stand. Throws IoError, and DataError with
/// line and column if it is not TOML or a value is a date or a list.
std::vector<Setting> read_settings(const std::filesystem::path& path);

/// Writes them so that `read_settings` gives them back, atomically, under a comment of one line.
void write_settings(const std::filesystem::path& path, std::string_view comment,
                    std::span<const Setting> settings);

}  // namespace rein
