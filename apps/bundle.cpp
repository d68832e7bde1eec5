#include "bundle.h"

#include <fmt/format.h>

#include <algorithm>

#include "rein/io/safetensors.h"
#include "usage_error.h"
#include "version.h"

namespace rein::app {
namespace {

constexpr const char *kFormat = "rein bundle 1", *kVariables = "variables/", *kInputs = "inputs/";

TensorFile read(const std::filesystem::path& file) {
  TensorFile content = read_safetensors(file);
  if (content.metadata["format"] != kFormat)
    throw DataError(
        file.string(), "metadata",
        fmt::format("no '{}'; give a file that 'rein train' wrote when it diverged", kFormat));
  return content;
}

}  // namespace

void write_bundle(const std::filesystem::path& file, const Bundle& bundle,
                  const Variables& variables) {
  TensorFile content;
  for (size_t i = 0; i < variables.size(); ++i) {
    const Variable v = const_cast<Variables&>(variables)[i];
    content.tensors.push_back({kVariables + v.name(), v.read()});
  }
  for (size_t i = 0; i < bundle.inputs.size(); ++i)
    content.tensors.push_back({fmt::format("{}{}", kInputs, i), bundle.inputs[i]});
  content.metadata = {{"format", kFormat},
                      {"producer", fmt::format("rein {}", kVersion)},
                      {"step", std::to_string(bundle.step)}};
  for (const TrainOption& option : train_options())
    content.metadata["settings/" + std::string(option.key)] = text_of(bundle.settings, option);
  write_safetensors(file, content);
}

Bundle read_bundle(const std::filesystem::path& file) {
  TensorFile content = read(file);
  Bundle bundle;
  try {
    for (const TrainOption& option : train_options())
      if (const auto found = content.metadata.find("settings/" + std::string(option.key));
          found != content.metadata.end())
        set_from_text(bundle.settings, option, found->second);
    bundle.step = std::stoll(content.metadata.at("step"));
  } catch (const std::exception& e) {
    throw DataError(file.string(), "metadata", e.what());
  }
  for (size_t i = 0;; ++i) {
    const std::string name = fmt::format("{}{}", kInputs, i);
    const auto found = std::ranges::find(content.tensors, name, &NamedTensor::name);
    if (found == content.tensors.end()) break;
    bundle.inputs.push_back(found->tensor);
  }
  return bundle;
}

void set_variables(const std::filesystem::path& file, Variables& variables) {
  const TensorFile content = read(file);
  for (size_t i = 0; i < variables.size(); ++i) {
    const std::string name = kVariables + variables[i].name();
    const auto found = std::ranges::find(content.tensors, name, &NamedTensor::name);
    if (found == content.tensors.end() || found->tensor.spec() != variables[i].spec())
      throw DataError(file.string(), name,
                      fmt::format("{} is expected", to_string(variables[i].spec())));
    variables.assign(variables[i], found->tensor);
  }
}

}  // namespace rein::app
