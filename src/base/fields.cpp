#include "rein/base/fields.h"

#include <fmt/format.h>

namespace rein {

std::string joined(std::string_view path, std::string_view name) {
  if (path.empty()) return std::string(name);
  if (name.empty()) return std::string(path);
  return fmt::format("{}/{}", path, name);
}

namespace {

struct Writer {
  std::string operator()(bool x) const { return x ? "true" : "false"; }
  std::string operator()(int64_t x) const { return fmt::format("{}", x); }
  std::string operator()(double x) const { return fmt::format("{}", x); }
  std::string operator()(const std::string& x) const { return fmt::format("'{}'", x); }
  std::string operator()(const std::vector<double>& x) const {
    std::string text = "[";
    for (size_t i = 0; i < x.size(); ++i) text += (i ? ", " : "") + (*this)(x[i]);
    return text + "]";
  }
};

}  // namespace

std::string to_string(const FieldValue& value) { return std::visit(Writer{}, value); }

std::string to_string(const Settings& settings) {
  std::string text;
  for (const Field& field : settings.fields)
    text += fmt::format("{}: {}\n", field.name, to_string(field.value));
  return text;
}

}  // namespace rein
