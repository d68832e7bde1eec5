#include <fmt/format.h>

#include "bundle.h"
#include "commands.h"
#include "model.h"
#include "rein/train/step.h"

namespace rein::app {

int replay(const ReplayRequest& request) {
  const Bundle bundle = read_bundle(request.file);
  Variables variables;
  const RowLstm model(variables, bundle.settings);
  set_variables(request.file, variables);
  const auto cost = [&](Value images, Value labels) { return model.cost(images, labels); };
  Step step = record(cost, variables, chain(), GradientDescent{}, {.threads = request.threads});
  if (bundle.inputs.size() != 2)
    throw DataError(
        request.file.string(), "inputs",
        fmt::format("{} of them; images and labels are expected", bundle.inputs.size()));
  const auto origin = step.find_non_finite(bundle.inputs);
  fmt::print("step {}: {}\n", bundle.step,
             origin ? origin->text() : "all results and gradients are finite");
  return origin ? kDiverged : kOk;
}

}  // namespace rein::app
