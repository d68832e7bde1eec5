#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "classifier.h"
#include "commands.h"
#include "rein/io/json_lines.h"
#include "rein/io/safetensors.h"
#include "run_folder.h"
#include "task.h"

namespace rein::app {
namespace {

// Of the class `k`, by the softmax of the logits.
double probability(std::span<const float> logits, size_t k) {
  double sum = 0;
  for (float v : logits) sum += std::exp(static_cast<double>(v) - static_cast<double>(logits[k]));
  return 1 / sum;
}

}  // namespace

int predict(const PredictRequest& request) {
  const RunFolder run = RunFolder::open(request.run);
  const TrainSettings settings = run.settings();
  Variables variables;
  const RowLstm model(variables, settings);
  run.load_weights(variables);
  const Tensor images = read_images(request.file);
  const ClassNames& names = class_names(settings);

  const Tensor logits = Classifier(model, request.threads).logits(images);
  const auto found = predictions(logits);
  for (size_t i = 0; i < found.size(); ++i) {
    const auto row = logits.flat<float>().subspan(i * RowLstm::kClasses, RowLstm::kClasses);
    const auto label = static_cast<size_t>(found[i]);
    if (!request.json) {
      fmt::print("{}\t{}\t{}\t{:.4f}\n", i, label, names[label], probability(row, label));
      continue;
    }
    JsonObject object{{"index", static_cast<int64_t>(i)},
                      {"label", found[i]},
                      {"name", std::string(names[label])},
                      {"probability", probability(row, label)}};
    if (request.logits) object.emplace_back("logits", std::vector<double>(row.begin(), row.end()));
    fmt::print("{}\n", to_json(object));
  }
  return kOk;
}

}  // namespace rein::app
