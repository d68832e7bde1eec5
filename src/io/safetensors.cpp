#include "rein/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "rein/io/file.h"

namespace rein {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the numbers are written as they are");

constexpr size_t kLengthBytes = 8;
constexpr int64_t kMaxHeader = 100'000'000;     // as in the reference implementation
constexpr int64_t kMaxFile = int64_t{1} << 36;  // 64 GB: keeps sums of sizes far from overflow
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::array<std::pair<DType, std::string_view>, 4> kTypes{{{DType::float32, "F32"},
                                                                    {DType::float64, "F64"},
                                                                    {DType::int32, "I32"},
                                                                    {DType::int64, "I64"}}};

std::string_view name_of(DType dtype) {
  return std::ranges::find(kTypes, dtype, &decltype(kTypes)::value_type::first)->second;
}

std::string_view bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.data()), t.spec().bytes()};
}

// A header that is being read, and what is wrong with it.
class Header {
 public:
  Header(std::string path, std::string_view text) : path_(std::move(path)) {
    // A name that occurs twice would hide a tensor; the parser alone would keep the last one.
    std::set<std::string> names;
    const auto unique = [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth == 1 && event == json::parse_event_t::key &&
          !names.insert(parsed.get<std::string>()).second)
        fail("header", fmt::format("the name '{}' occurs twice", parsed.get<std::string>()));
      return true;
    };
    try {
      object_ = json::parse(text, unique);
    } catch (const json::exception& e) {
      fail("header", fmt::format("not JSON: {}", e.what()));
    }
    if (!object_.is_object()) fail("header", "not a JSON object");
  }

  const json& object() const { return object_; }

  [[noreturn]] void fail(std::string_view place, std::string_view what) const {
    throw DataError(path_, place, what);
  }

  std::map<std::string, std::string> metadata() const {
    std::map<std::string, std::string> found;
    const auto it = object_.find(kMetadata);
    if (it == object_.end()) return found;
    if (!it->is_object()) fail(kMetadata, "not an object");
    for (const auto& [key, value] : it->items()) {
      if (!value.is_string()) fail(kMetadata, fmt::format("'{}' is not a string", key));
      found[key] = value.get<std::string>();
    }
    return found;
  }

  // For error texts. What is nested may be nested a million deep: it is not looked into.
  static std::string shown(const json& j) {
    return j.is_structured() ? "a list or object" : j.dump().substr(0, 60);
  }

  // What the header says of one tensor; `size` is that of the numbers.
  struct Entry {
    std::string name;
    Spec spec;
    size_t begin = 0, end = 0;
  };
  Entry entry(const std::string& name, const json& value, size_t size) const {
    const std::string place = fmt::format("tensor '{}'", name);
    const auto number = [&](const json& j, std::string_view what) {
      if (!j.is_number_unsigned() || j.get<uint64_t>() > static_cast<uint64_t>(kMaxFile))
        fail(place, fmt::format("{} is {}, not a size", what, shown(j)));
      return j.get<size_t>();
    };
    const auto list = [&](const char* key) -> const json& {
      if (!value.is_object() || !value.contains(key) || !value[key].is_array())
        fail(place, fmt::format("has no list '{}'", key));
      return value[key];
    };

    Entry e{name, {}, 0, 0};
    const auto& shape = list("shape");
    if (shape.size() > Shape::kMaxRank)
      fail(place, fmt::format("{} axes; at most {} are read", shape.size(), Shape::kMaxRank));
    size_t count = 1;
    for (const json& dim : shape) {
      const size_t n = number(dim, "a size of its shape");
      if (n != 0 && count > static_cast<size_t>(kMaxFile) / n)
        fail(place, "its shape has more elements than a file can hold");
      count *= n;
      e.spec.shape.push_back(static_cast<int64_t>(n));
    }

    const auto dtype = value.find("dtype");
    if (dtype == value.end()) fail(place, "has no 'dtype'");
    const auto type = std::ranges::find_if(
        kTypes, [&](const auto& t) { return dtype->is_string() && *dtype == t.second; });
    if (type == kTypes.end())
      fail(place, fmt::format("dtype {}; F32, F64, I32 and I64 are read", shown(*dtype)));
    e.spec.dtype = type->first;

    const auto& offsets = list("data_offsets");
    if (offsets.size() != 2) fail(place, "'data_offsets' are not two numbers");
    e.begin = number(offsets[0], "an offset");
    e.end = number(offsets[1], "an offset");
    if (e.begin > e.end || e.end > size)
      fail(place, fmt::format("bytes {} to {} are outside of the {} bytes of numbers; the file is "
                              "damaged or was cut off",
                              e.begin, e.end, size));
    if (count * size_of(e.spec.dtype) != e.end - e.begin)
      fail(place, fmt::format("{} does not take the {} bytes from {} to {}", to_string(e.spec),
                              e.end - e.begin, e.begin, e.end));
    return e;
  }

 private:
  std::string path_;
  json object_;
};

std::vector<Header::Entry> entries_of(const Header& header, size_t size) {
  std::vector<Header::Entry> entries;
  for (const auto& [name, value] : header.object().items())
    if (name != kMetadata) entries.push_back(header.entry(name, value, size));
  std::ranges::sort(entries, {}, [](const auto& e) { return std::pair(e.begin, e.end); });
  size_t end = 0;
  for (const auto& e : entries) {
    if (e.begin != end)
      header.fail(fmt::format("tensor '{}'", e.name),
                  fmt::format("begins at byte {} of the numbers, {} byte {} where the one before "
                              "ends",
                              e.begin, e.begin < end ? "before" : "after", end));
    end = e.end;
  }
  if (end != size) header.fail("numbers", fmt::format("{} bytes belong to no tensor", size - end));
  return entries;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const TensorFile& content, Where where) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& t : content.tensors) order.push_back(&t);
  std::ranges::stable_sort(order, std::greater{},
                           [](const NamedTensor* t) { return size_of(t->tensor.dtype()); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header[std::string(kMetadata)] = content.metadata;
  size_t offset = 0;
  for (const NamedTensor* t : order) {
    if (t->name.empty() || t->name == kMetadata || header.contains(t->name))
      throw InvalidArgument(
          "write_safetensors",
          fmt::format("'{}' is empty, reserved or there already; names must differ", t->name),
          where);
    const auto dims = t->tensor.shape().dims();
    const size_t end = offset + t->tensor.spec().bytes();
    header[t->name] = {{"dtype", name_of(t->tensor.dtype())},
                       {"shape", std::vector<int64_t>(dims.begin(), dims.end())},
                       {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw InvalidArgument("write_safetensors", "a name or the metadata is not UTF-8", where);
  }
  text.resize(round_up(text.size(), kLengthBytes), ' ');

  const uint64_t length = text.size();
  std::vector<std::string_view> pieces{{reinterpret_cast<const char*>(&length), sizeof length},
                                       text};
  for (const NamedTensor* t : order) pieces.push_back(bytes_of(t->tensor));
  write_file_atomically(path, pieces);
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  const std::string file = read_file(path, kMaxFile);
  uint64_t length = 0;
  if (file.size() >= kLengthBytes) std::memcpy(&length, file.data(), kLengthBytes);
  if (file.size() < kLengthBytes || length > static_cast<uint64_t>(kMaxHeader) ||
      length > file.size() - kLengthBytes)
    throw DataError(path.string(), "byte 0",
                    fmt::format("a header of {} bytes in a file of {}; not a safetensors file, or "
                                "it was cut off",
                                length, file.size()));
  const std::string_view numbers = std::string_view(file).substr(kLengthBytes + length);
  const Header header(path.string(), std::string_view(file).substr(kLengthBytes, length));

  TensorFile content{{}, header.metadata()};
  for (const auto& e : entries_of(header, numbers.size())) {
    Tensor tensor(e.spec);
    if (e.end > e.begin) std::memcpy(tensor.data(), numbers.data() + e.begin, e.end - e.begin);
    content.tensors.push_back({e.name, std::move(tensor)});
  }
  return content;
}

void save_variables(const std::filesystem::path& path, const Variables& variables,
                    std::map<std::string, std::string> metadata) {
  TensorFile content{{}, std::move(metadata)};
  for (size_t i = 0; i < variables.size(); ++i) {
    const auto& entry = variables.layout().entries[i];
    visit_float(entry.spec.dtype, [&](auto zero) {
      const auto values = variables.values<decltype(zero)>(i);
      content.tensors.push_back(
          {entry.name, Tensor::copy_of<decltype(zero)>(entry.spec.shape, values)});
    });
  }
  write_safetensors(path, content);
}

std::map<std::string, std::string> load_variables(const std::filesystem::path& path,
                                                  Variables& variables) {
  TensorFile file = read_safetensors(path);
  std::string differences;
  const auto differs = [&](std::string_view text) { differences += fmt::format("\n  {}", text); };
  std::map<std::string, const Tensor*> found;
  for (const NamedTensor& t : file.tensors) found[t.name] = &t.tensor;
  for (const auto& entry : variables.layout().entries) {
    const auto it = found.find(entry.name);
    if (it == found.end())
      differs(fmt::format("'{}' {} is missing", entry.name, to_string(entry.spec)));
    else if (it->second->spec() != entry.spec)
      differs(fmt::format("'{}' is {}, the model's is {}", entry.name,
                          to_string(it->second->spec()), to_string(entry.spec)));
  }
  for (const NamedTensor& t : file.tensors)
    if (!variables.contains(t.name))
      differs(fmt::format("'{}' {} is not in the model", t.name, to_string(t.tensor.spec())));
  if (!differences.empty())
    throw DataError(path.string(), "names and shapes",
                    fmt::format("these are not the weights of this model:{}", differences));

  for (const NamedTensor& t : file.tensors) variables.assign(variables.at(t.name), t.tensor);
  return file.metadata;
}

}  // namespace rein
