#include "bundle.h"

#include <fmt/format.h>

#include <utility>

#include "names.h"
#include "rein/io/state_file.h"
#include "usage_error.h"

namespace rein::app {
namespace {

constexpr const char *kFormat = "rein bundle 2", *kState = "state/", *kUnit = "bundle/unit";

std::string setting_path(const TrainOption& option) {
  return fmt::format("bundle/settings/{}", option.key);
}
std::string input_path(size_t i) { return fmt::format("bundle/inputs/{}", i); }

}  // namespace

void write_bundle(const std::filesystem::path& file, const Bundle& bundle) {
  StateDict out;
  for (const auto& [name, value] : bundle.state) out[kState + name] = value;
  for (size_t i = 0; i < bundle.inputs.size(); ++i) out[input_path(i)] = bundle.inputs[i];
  out["bundle/format"] = kFormat;
  for (const TrainOption& option : train_options())
    out[setting_path(option)] = text_of(bundle.settings, option);
  if (bundle.unit) out[kUnit] = std::string(to_string(*bundle.unit));
  save_state(file, out);
}

Bundle read_bundle(const std::filesystem::path& file) {
  TensorFile content = read_safetensors(file);
  if (content.metadata["bundle/format"] != fmt::format("'{}'", kFormat))
    throw DataError(
        file.string(), "metadata",
        fmt::format("no '{}'; give a file that 'rein train' wrote when it diverged", kFormat));
  const StateDict all = load_state(std::move(content), file);
  Bundle bundle;
  for (const auto& [name, value] : all)
    if (name.starts_with(kState))
      bundle.state[name.substr(std::string_view(kState).size())] = value;
  try {
    for (const TrainOption& option : train_options())
      if (const auto found = all.find(setting_path(option)); found != all.end())
        set_from_text(bundle.settings, option, std::get<std::string>(found->second));
    if (const auto unit = all.find(kUnit); unit != all.end())
      bundle.unit = make_unit(std::get<std::string>(unit->second));
    for (size_t i = 0; all.contains(input_path(i)); ++i)
      bundle.inputs.push_back(std::get<Tensor>(all.at(input_path(i))));
  } catch (const std::exception& e) {
    throw DataError(file.string(), "metadata", e.what());
  }
  return bundle;
}

std::vector<Tensor> part_of(const std::vector<Tensor>& batch, int64_t i, int64_t n) {
  std::vector<Tensor> part;
  for (const Tensor& tensor : batch) {
    Shape shape = tensor.shape();
    shape[0] /= n;
    part.push_back(tensor.piece(i * shape.size(), shape));
  }
  return part;
}

}  // namespace rein::app
