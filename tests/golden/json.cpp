#include "json.h"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace golden {
namespace {

// Takes the events of the parser and grows the tree.
class Builder {
 public:
  explicit Builder(Json& root) : root_(root) {}

  bool null() { return put({}); }
  bool boolean(bool value) {
    return put({.kind = Json::Kind::boolean, .text = value ? "true" : "false"});
  }
  bool number_integer(int64_t value) { return number(std::to_string(value)); }
  bool number_unsigned(uint64_t value) { return number(std::to_string(value)); }
  bool number_float(double, const std::string& text) { return number(text); }
  bool string(std::string& text) { return put({.kind = Json::Kind::string, .text = text}); }
  bool binary(std::vector<uint8_t>&) { return false; }
  bool start_array(size_t) { return open(Json::Kind::array); }
  bool start_object(size_t) { return open(Json::Kind::object); }
  bool key(std::string& name) {
    open_.back()->keys.push_back(name);
    return true;
  }
  bool end_array() { return close(); }
  bool end_object() { return close(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    throw std::runtime_error(error.what());
  }

 private:
  bool number(std::string text) { return put({.kind = Json::Kind::number, .text = text}); }
  bool put(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json::Kind kind) {
    open_.push_back(&place({.kind = kind}));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  // A pointer to an open array or object stays good: its siblings are not added before it closes.
  Json& place(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    open_.back()->items.push_back(std::move(value));
    return open_.back()->items.back();
  }

  Json& root_;
  std::vector<Json*> open_;
};

double special(const std::string& text) {
  const double infinity = std::numeric_limits<double>::infinity();
  return text == "inf" ? infinity : text == "-inf" ? -infinity : std::nan("");
}

template <class T>
T parse(const std::string& text) {
  // An integer type keeps what a double would round.
  if constexpr (std::is_same_v<T, float>) return std::strtof(text.c_str(), nullptr);
  if constexpr (std::is_same_v<T, double>) return std::strtod(text.c_str(), nullptr);
  char* end = nullptr;
  const auto value = static_cast<T>(std::strtoll(text.c_str(), &end, 10));
  if (*end != '\0') throw std::runtime_error("not an integer: " + text);
  return value;
}

}  // namespace

bool Json::is_number() const {
  return kind == Kind::number ||
         (kind == Kind::string && (text == "nan" || text == "inf" || text == "-inf"));
}

const Json* Json::find(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return &items[i];
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* found = find(key)) return *found;
  throw std::runtime_error("'" + std::string(key) + "' is missing");
}

template <class T>
T Json::as() const {
  if (kind == Kind::number) return parse<T>(text);
  if (std::is_floating_point_v<T> && is_number()) return static_cast<T>(special(text));
  throw std::runtime_error("not a number: '" + text + "'");
}
template float Json::as<float>() const;
template double Json::as<double>() const;
template int64_t Json::as<int64_t>() const;

bool Json::boolean() const {
  if (kind != Kind::boolean) throw std::runtime_error("not true or false: '" + text + "'");
  return text == "true";
}

const std::string& Json::string() const {
  if (kind != Kind::string) throw std::runtime_error("not a string");
  return text;
}

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot be opened");
  Json root;
  Builder builder(root);
  if (!nlohmann::json::sax_parse(file, &builder)) throw std::runtime_error("is not JSON");
  return root;
}

}  // namespace golden
