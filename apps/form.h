// Texts such as `global:5,semantics=pytorch` for structs that list their fields.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rein/base/fields.h"
#include "rein/base/schedule.h"
#include "rein/base/text.h"
#include "usage_error.h"

namespace rein::app {

/// The whole text as a number.
template <class T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}
inline bool parse(std::string_view text, std::string& value) {
  value = text;
  return true;
}

/// `name`, `name:main`, `name:setting=value,...` or `name:main,setting=value,...`.
struct Form {
  std::string_view text, name, main;
  std::vector<std::pair<std::string_view, std::string_view>> settings;

  explicit Form(std::string_view whole);
  /// `main` as a number above 0, if it is one.
  bool positive(double& value) const { return parse(main, value) && value > 0; }
  bool names(std::string_view setting) const;
  /// Sets the fields of `target` that `settings` names. Throws UsageError, `option` in front.
  template <class T>
  void set(std::string_view option, T& target) const;
};

/// The texts between `separator`s.
std::vector<std::string_view> split(std::string_view text, char separator);

namespace detail {

// Sets the field `key`, if there is one.
struct FieldSetter {
  std::string_view key, text;
  std::vector<std::string> names{};
  std::string wish{};  // what it would have to be
  bool found = false, fine = false;

  // A limit is a struct whose `value` is meant.
  static std::string short_name(const std::string& path) {
    return path.ends_with("/value") ? path.substr(0, path.size() - 6) : path;
  }
  template <class T>
  void leaf(const std::string& path, T& x) {
    if constexpr (requires { read(x); }) {
      names.push_back(short_name(path));
      if (names.back() != key) return;
      found = true;
      fine = read(x);
      wish = wish_of<T>();
    }
  }
  template <class T>
  void optional(const std::string& path, std::optional<T>& x) {
    T value{};
    const bool before = found;
    leaf(path, value);
    if (found && !before && fine) x = value;
  }

  bool read(bool& x) const {
    x = text == "true";
    return x || text == "false";
  }
  template <class T>
  requires(Number<T> && !std::same_as<T, bool>) bool read(T& x) const { return parse(text, x); }
  bool read(std::string& x) const { return parse(text, x); }
  bool read(Schedule& x) const {
    double value = 0;
    if (!parse(text, value)) return false;
    x = value;
    return true;
  }
  // Numbers with `/` between them.
  template <VectorOfNumbers T>
  bool read(T& x) const {
    x.clear();
    for (const std::string_view part : split(text, '/'))
      if (!parse(part, x.emplace_back())) return false;
    return true;
  }
  template <class T>
  requires(std::is_enum_v<T>&& requires(T x) { to_string(x); }) bool read(T& x) const {
    const std::vector<std::string> all = names_of<T>();
    const auto at = std::ranges::find(all, text);
    if (at == all.end()) return false;
    x = static_cast<T>(at - all.begin());
    return true;
  }

  // Of 0, 1, ...: past the last of an enum come its last name, or its first, again, or "unknown".
  template <class T>
  static std::vector<std::string> names_of() {
    std::vector<std::string> all;
    for (int i = 0;; ++i) {
      std::string name(to_string(static_cast<T>(i)));
      if (name == "unknown" || std::ranges::find(all, name) != all.end()) return all;
      all.push_back(std::move(name));
    }
  }
  template <class T>
  static std::string wish_of() {
    if constexpr (std::is_enum_v<T>)
      return fmt::format("one of {}", fmt::join(names_of<T>(), ", "));
    else if constexpr (VectorOfNumbers<T>)
      return "numbers with / between them";
    else if constexpr (std::same_as<T, bool>)
      return "true or false";
    else if constexpr (std::integral<T>)
      return "a whole number";
    else
      return "a number";
  }
};

}  // namespace detail

template <class T>
void Form::set(std::string_view option, T& target) const {
  std::vector<std::string_view> done;
  for (const auto& [key, value] : settings) {
    if (std::ranges::find(done, key) != done.end())
      throw UsageError(fmt::format("{}: '{}' has the setting '{}' twice", option, text, key));
    done.push_back(key);
    detail::FieldSetter setter{key, value};
    visit_fields("", target, setter);
    if (setter.found && setter.fine) continue;
    if (setter.found)
      throw UsageError(
          fmt::format("{}: '{}' is no {} of '{}'; give {}", option, value, key, name, setter.wish));
    if (double number = 0; parse(key, number))
      throw UsageError(fmt::format(
          "{}: '{}': several numbers of a setting stand with / between them, as in axes=0/1",
          option, text));
    const std::vector<std::string_view> views(setter.names.begin(), setter.names.end());
    throw UsageError(fmt::format("{}: '{}' has no setting '{}'{}\nit has: {}", option, name, key,
                                 did_you_mean(key, views),
                                 views.empty() ? "none" : fmt::to_string(fmt::join(views, ", "))));
  }
}

}  // namespace rein::app
