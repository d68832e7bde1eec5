// Reading the values of a file.
#include "golden.h"

namespace golden {
namespace {

using rein::DType;
using rein::Tensor;

template <class T>
Tensor read(const rein::Shape& shape, const std::vector<Json>& data, bool with_nulls) {
  using Number = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
  std::vector<T> values;
  for (const auto& item : data)
    values.push_back(with_nulls && item.is_null() ? T{0} : static_cast<T>(item.as<Number>()));
  return Tensor::copy_of<T>(shape, values);
}

Tensor read(const Json& json, bool with_nulls) {
  const auto shape = read_shape(json.at("shape"));
  const auto& data = json.at("data").items;
  const auto& dtype = json.at("dtype").string();
  if (dtype == "float32") return read<float>(shape, data, with_nulls);
  if (dtype == "float64") return read<double>(shape, data, with_nulls);
  if (dtype == "int32") return read<int32_t>(shape, data, with_nulls);
  if (dtype == "int64") return read<int64_t>(shape, data, with_nulls);
  throw Skip("dtype " + dtype + " is not built yet");
}

bool set(const Json* value) { return value && !value->is_null(); }

}  // namespace

void only(const Json& object, const Names& known, std::string_view what) {
  for (const auto& key : object.keys) {
    bool found = false;
    for (const auto name : known) found = found || name == key;
    if (!found) throw Skip(std::string(what) + " '" + key + "' is not built yet");
  }
}

rein::Shape read_shape(const Json& json) {
  rein::Shape shape;
  for (const auto& item : json.items) shape.push_back(item.as<int64_t>());
  return shape;
}

Tensor read_tensor(const Json& json) { return read(json, false); }
Tensor read_expected(const Json& json) { return read(json, true); }

rein::Gradient read_gradient(const Json& json) {
  if (json.is_null()) return {};
  if (!json.find("indices")) return read_tensor(json);
  std::vector<int64_t> indices;
  for (const auto& item : json.at("indices").items) indices.push_back(item.as<int64_t>());
  const auto n = static_cast<int64_t>(indices.size());
  return rein::IndexedSlices{.values = read_tensor(json.at("values")),
                             .indices = Tensor::copy_of<int64_t>({n}, indices),
                             .dense_shape = read_shape(json.at("dense_shape"))};
}

std::vector<rein::Gradient> read_gradients(const Json& list) {
  std::vector<rein::Gradient> gradients;
  for (const auto& item : list.items) gradients.push_back(read_gradient(item));
  return gradients;
}

double number_or(const Json& settings, std::string_view name, double otherwise) {
  const Json* value = settings.find(name);
  return set(value) ? value->as<double>() : otherwise;
}

bool flag_or(const Json& settings, std::string_view name, bool otherwise) {
  const Json* value = settings.find(name);
  return set(value) ? value->boolean() : otherwise;
}

std::string text_or(const Json& settings, std::string_view name, std::string_view otherwise) {
  const Json* value = settings.find(name);
  return set(value) ? value->string() : std::string(otherwise);
}

void unset(const Json& settings, const Names& names) {
  for (const auto name : names) {
    const Json* value = settings.find(name);
    const bool off = !set(value) || (value->is(Json::Kind::boolean) && !value->boolean()) ||
                     (value->is_number() && value->as<double>() == 0);
    if (!off) throw Skip("attribute '" + std::string(name) + "' is not built yet");
  }
}

}  // namespace golden
