#include <fmt/format.h>

#include <cmath>

#include "bundle.h"
#include "commands.h"
#include "model.h"
#include "names.h"
#include "rein/process/clip_by_global_norm.h"
#include "rein/train/step.h"
#include "run_folder.h"

namespace rein::app {
namespace {

// Sets `step` as far as a loss depends on it: parameters, the count of steps, the loss scale.
void set_state(const std::string& file, const Bundle& bundle, Step& step) {
  StateDict state = step.state();
  for (auto& [name, value] : state) {
    if (name.starts_with("rule/") || name.starts_with("process/") || name.starts_with("settings/"))
      continue;
    const auto saved = bundle.state.find(name);
    if (saved == bundle.state.end()) throw DataError(file, "state/" + name, "is not there");
    value = saved->second;
  }
  try {
    step.load_state(state);
  } catch (const InvalidArgument& e) {
    throw DataError(file, "state", e.what());
  }
}

void check_inputs(const std::string& file, const Bundle& bundle) {
  const std::vector<Tensor>& in = bundle.inputs;
  if (in.size() != 2)
    throw DataError(file, "inputs",
                    fmt::format("{} of them; images and labels are expected", in.size()));
  const int64_t parts = bundle.settings.accumulate;
  for (const Tensor& tensor : in)
    if (tensor.shape().rank() == 0 || tensor.shape()[0] % parts != 0)
      throw DataError(
          file, "inputs",
          fmt::format("{} cannot be cut into {} equal parts", to_string(tensor.spec()), parts));
}

// What the loss was compared with, if the run had a rollback that looks at it.
std::string of_the_rollback(const Bundle& bundle) {
  const auto rollback = make_rollback(bundle.settings.rollback);
  const auto kept = bundle.state.find("rollback/loss");
  const double* loss = kept == bundle.state.end() ? nullptr : std::get_if<double>(&kept->second);
  if (!rollback || !std::isfinite(rollback->loss_above) || !loss || *loss == 0) return {};
  return fmt::format("the loss of the rollback's copy was {}, and loss_above is {}\n", *loss,
                     rollback->loss_above);
}

}  // namespace

int replay(const ReplayRequest& request) {
  const std::filesystem::path path = RunFolder::bundle_at(request.run);
  const std::string file = path.string();
  const Bundle bundle = read_bundle(path);
  const TrainSettings& settings = bundle.settings;
  check_inputs(file, bundle);
  Variables variables;
  const RowLstm model(variables, settings);
  const auto cost = [&](Value images, Value labels) { return model.cost(images, labels); };
  StepOptions options{.threads = request.threads, .seed = {static_cast<uint64_t>(settings.seed)}};
  options.products = make_products(settings.precision);
  options.products.unit = bundle.unit.value_or(NarrowUnit::amx);   // once the only one
  options.products.emulated = !why_not(options.products).empty();  // the same bits
  if (settings.loss_scale > 0) options.loss_scale = LossScale{.initial = settings.loss_scale};
  Step step = record(cost, variables, MeasureNorm{}, GradientDescent{}, options);
  set_state(file, bundle, step);

  const int64_t parts = settings.accumulate;
  StepInfo info;
  for (int64_t i = 0; i < parts; ++i) {
    const std::vector<Tensor> part = part_of(bundle.inputs, i, parts);
    if (const auto origin = step.find_non_finite(part)) {
      const std::string which =
          parts > 1 ? fmt::format(", micro-batch {} of {}", i + 1, parts) : std::string();
      fmt::print("step {}{}: {}\n", step.step() + 1, which, origin->text());
      return kDiverged;
    }
    if (i + 1 < parts)
      step.accumulate_all(part);
    else
      info = step.run(part);
  }
  if (!info.finite) {  // though each part is
    fmt::print("step {}: the mean gradient of its {} micro-batches is not finite in '{}'\n",
               info.step, parts, info.non_finite);
    return kDiverged;
  }
  fmt::print(
      "step {}: all results and gradients are finite; the loss is {}, the global norm {}\n{}",
      info.step, info.loss, info.norm, of_the_rollback(bundle));
  return kOk;
}

}  // namespace rein::app
