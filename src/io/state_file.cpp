#include "rein/io/state_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

namespace rein {
namespace {

struct Writer {
  TensorFile& file;
  const std::string& name;

  void operator()(const Tensor& tensor) const { file.tensors.push_back({name, tensor}); }
  void operator()(bool x) const { file.metadata[name] = x ? "true" : "false"; }
  void operator()(int64_t x) const { file.metadata[name] = fmt::format("{}", x); }
  // Never without a point, an exponent or a letter, which tell it from an integer.
  void operator()(double x) const { file.metadata[name] = fmt::format("{:#}", x); }
  void operator()(const std::string& x) const { file.metadata[name] = "'" + x + "'"; }
};

template <class T>
std::optional<StateValue> number(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc{} || result.ptr != end) return std::nullopt;
  return value;
}

std::optional<StateValue> parsed(std::string_view text) {
  if (text == "true" || text == "false") return text == "true";
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'')
    return std::string(text.substr(1, text.size() - 2));
  if (text.find_first_of(".en") == std::string_view::npos) return number<int64_t>(text);
  return number<double>(text);
}

}  // namespace

void save_state(const std::filesystem::path& path, const StateDict& state, Where where) {
  TensorFile file;
  for (const auto& [name, value] : state) {
    if (name.empty()) throw InvalidArgument("save_state", "a value has no name", where);
    std::visit(Writer{file, name}, value);
  }
  write_safetensors(path, file, where);
}

StateDict load_state(const std::filesystem::path& path) {
  return load_state(read_safetensors(path), path);
}

StateDict load_state(TensorFile file, const std::filesystem::path& path) {
  StateDict state;
  for (const auto& [name, text] : file.metadata) {
    const auto value = parsed(text);
    if (!value)
      throw DataError(path.string(), fmt::format("__metadata__ '{}'", name),
                      fmt::format("{} is not a number, true, false or 'text'; this is not a file "
                                  "of save_state",
                                  text.substr(0, 60)));
    state[name] = *value;
  }
  for (NamedTensor& t : file.tensors)
    if (!state.emplace(t.name, std::move(t.tensor)).second)
      throw DataError(path.string(), fmt::format("tensor '{}'", t.name), "is in the metadata too");
  return state;
}

}  // namespace rein
