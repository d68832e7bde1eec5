#include <fmt/format.h>

#include "classifier.h"
#include "commands.h"
#include "rein/io/safetensors.h"
#include "run_folder.h"
#include "task.h"

namespace rein::app {

int eval(const EvalRequest& request) {
  const RunFolder run = RunFolder::open(request.run);
  TrainSettings settings = run.settings();
  if (!request.data.empty()) settings.data = request.data;
  Variables variables;
  const RowLstm model(variables, settings);
  run.load_weights(variables);
  const ImageTask task = load_task(settings);
  Classifier classifier(model, request.threads);
  fmt::print("{}\n", to_string(accuracy(classifier.logits(task.test.images), task.test.labels)));
  return kOk;
}

}  // namespace rein::app
