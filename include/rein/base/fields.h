// Settings and what is remembered between steps, field by field.
//
// A struct lists its fields once:
//
//     struct Momentum {
//       Schedule learning_rate = 0.01;
//       double momentum = 0.9;
//       template <class Self, class F>
//       static void fields(Self& self, F&& f) {
//         f("learning_rate", self.learning_rate);
//         f("momentum", self.momentum);
//       }
//     };
//
// and saving, loading, printing and comparing go by that list. A field is a number, bool, enum,
// std::string, Schedule, Tensor, Slot, a struct with fields, a vector of numbers, or a vector or
// optional of any of these. An enum with a `to_string` of its own is written as that text.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rein {

/// A list whose length changes while training, as a field of a state. Any other list of numbers
/// keeps the length that it has when training begins: a saved one of another length is refused.
struct GrowingList : std::vector<double> {
  using std::vector<double>::vector;
};

namespace detail {
struct TakesAnyField {
  template <class T>
  void operator()(std::string_view, T&) const {}
};

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <>
inline constexpr bool is_vector<GrowingList> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
}  // namespace detail

/// A struct that lists its fields, be it constant or not.
template <class T>
concept HasFields = requires(T& t, const T& constant) {
  T::fields(t, detail::TakesAnyField{});
  T::fields(constant, detail::TakesAnyField{});
};

template <class T>
concept Number = std::is_arithmetic_v<T>;

template <class T>
concept VectorOfNumbers =
    detail::is_vector<T> && Number<typename T::value_type> && !std::same_as<T, std::vector<bool>>;

/// `path/name`, or `name` at the top.
std::string joined(std::string_view path, std::string_view name);

/// Calls `visitor.leaf(path, x)` for every field below `value` that is not made of others. Elements
/// of vectors are named by their number. An optional without a value is passed over, unless the
/// visitor has a function `optional(path, x)`, which then decides; so does a function
/// `whole(path, x)` of anything that it takes.
template <class T, class Visitor>
[[gnu::cold]] void visit_fields(const std::string& path, T& value, Visitor&& visitor) {
  using U = std::remove_const_t<T>;
  if constexpr (requires { visitor.whole(path, value); }) {
    visitor.whole(path, value);
  } else if constexpr (HasFields<U>) {
    U::fields(value, [&](std::string_view name, auto& field) {
      visit_fields(joined(path, name), field, visitor);
    });
  } else if constexpr (detail::is_optional<U>) {
    if constexpr (requires { visitor.optional(path, value); })
      visitor.optional(path, value);
    else if (value)
      visit_fields(path, *value, visitor);
  } else if constexpr (detail::is_vector<U> && !VectorOfNumbers<U>) {
    for (size_t i = 0; i < value.size(); ++i)
      visit_fields(joined(path, std::to_string(i)), value[i], visitor);
  } else {
    visitor.leaf(path, value);
  }
}

/// A field as a value that can be printed and compared.
using FieldValue = std::variant<bool, int64_t, double, std::string, std::vector<double>>;

/// `0.001`, `3`, `true`, `'Adam'`, `[1, 2.5]`: numbers with all their digits.
std::string to_string(const FieldValue& value);

struct Field {
  std::string name;  // a path: `learning_rate/decay_steps`
  FieldValue value;
  friend bool operator==(const Field&, const Field&) = default;
};

/// A setting that changes by what it is told while training (a learning rate that watches a metric)
/// keeps what it knows in one of these, which all its copies share.
class SettingState {
 public:
  virtual ~SettingState() = default;
  virtual std::vector<Field> state() const = 0;
  /// What `state` gave, of the same names and kinds: the caller has checked.
  virtual void set_state(const std::vector<Field>& fields) = 0;
};

/// All settings of a thing, flat, in the order in which it lists them.
struct Settings {
  struct Live {
    std::string name;
    std::shared_ptr<SettingState> state;
  };
  std::vector<Field> fields;
  std::vector<Live> live;
};

/// One line for each setting: `name: value`.
std::string to_string(const Settings& settings);

/// A value that hides its type and describes itself (a Schedule, any rule, any transform).
template <class T>
concept DescribesItself = requires(const T& t, std::string_view path, Settings& out) {
  t.describe(path, out);
};

namespace detail {
// `value` as a FieldValue; an enum without a text of its own is its number.
template <class T>
FieldValue field_value(const T& value) {
  if constexpr (std::same_as<T, bool> || std::same_as<T, std::string>)
    return value;
  else if constexpr (std::is_floating_point_v<T>)
    return static_cast<double>(value);
  else if constexpr (std::is_integral_v<T>)
    return static_cast<int64_t>(value);
  else if constexpr (std::is_enum_v<T>) {
    if constexpr (requires { std::string(to_string(value)); })
      return std::string(to_string(value));
    else
      return static_cast<int64_t>(value);
  } else {
    static_assert(VectorOfNumbers<T>, "a field of this type cannot be a setting");
    return std::vector<double>(value.begin(), value.end());
  }
}

struct Describer {
  Settings& out;
  template <class T>
  [[gnu::cold]] void leaf(const std::string& path, const T& value) const {
    if constexpr (DescribesItself<T>)
      value.describe(path, out);
    else
      out.fields.push_back({path, field_value(value)});
  }
};
}  // namespace detail

/// Adds the settings of `value` to `out`, under `path`.
template <class T>
[[gnu::cold]] void describe(std::string_view path, const T& value, Settings& out) {
  visit_fields(std::string(path), value, detail::Describer{out});
}

/// `settings_of(Adam{})`, `settings_of(rule)`: to print, or to compare.
template <class T>
Settings settings_of(const T& value) {
  Settings settings;
  describe("", value, settings);
  return settings;
}

}  // namespace rein
