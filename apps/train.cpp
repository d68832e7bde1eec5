#include <fmt/format.h>
#include <signal.h>

#include <cmath>
#include <cstdio>

#include "bundle.h"
#include "classifier.h"
#include "commands.h"
#include "epoch_summary.h"
#include "names.h"
#include "progress.h"
#include "rein/data/dataset.h"
#include "rein/io/json_lines.h"
#include "rein/process/finite.h"
#include "run_folder.h"
#include "stop_signal.h"
#include "task.h"
#include "usage_error.h"

namespace rein::app {
namespace {

void check_batches(const TrainSettings& settings, const Dataset& examples) {
  if (settings.batch_size > examples.size())
    throw UsageError(fmt::format("batch_size: {} is more than the {} training examples",
                                 settings.batch_size, examples.size()));
}

// A step whose gradients are not finite throws before it changes anything: what it was made of goes
// into a file.
StepInfo run_step(Step& step, const std::vector<Tensor>& batch, const Variables& variables,
                  const TrainSettings& settings, const RunFolder& run) {
  try {
    const StepInfo info = step.run(batch);
    if (std::isfinite(info.loss)) return info;
    throw NonFiniteError(fmt::format("the loss is {}, its gradients are finite", info.loss));
  } catch (const NonFiniteError& error) {
    const int64_t number = step.step() + 1;
    write_bundle(run.bundle_file(), {settings, number, batch}, variables);
    throw NonFiniteError(
        fmt::format("diverged at step {}: {}\ntry a smaller --learning-rate or another --clip; "
                    "'rein replay {}' "
                    "says where it began",
                    number, error.what(), run.bundle_file().string()));
  }
}

int report_stop(int signal, const RunFolder& run, int64_t step) {
  fmt::print(stderr, "stopped by {} after step {}; the weights are in {}\n",
             signal == SIGINT ? "SIGINT" : "SIGTERM", step, run.weights_file().string());
  return kSignal + signal;
}

}  // namespace

int train(TrainRequest request) {
  TrainSettings& settings = request.settings;
  const ImageTask task = load_task(settings);
  const Seed seed{static_cast<uint64_t>(settings.seed)};
  const int threads = static_cast<int>(settings.threads);
  const DatasetPtr examples = in_memory({task.train.images, task.train.labels});
  check_batches(settings, *examples);

  Variables variables{seed};
  const RowLstm model(variables, settings.hidden);
  const auto cost = [&](Value images, Value labels) { return model.cost(images, labels); };
  Step step = record(
      cost, variables, chain(CheckFinite{.policy = NonFinite::stop}, make_clip(settings.clip)),
      make_rule(settings.optimizer, settings.learning_rate), {.threads = threads, .seed = seed});
  Classifier classifier(model, threads);

  const RunFolder run = RunFolder::create(request.out, request.force);
  write_to_file(settings, run.settings_file());
  JsonLines metrics(run.metrics_file());
  const StopSignal stop;
  fmt::print("training on {}: {} images, {} for the test; {} parameters; run {}\n", settings.data,
             examples->size(), task.test.images.shape()[0], variables.parameter_count(),
             run.path().string());
  std::fflush(stdout);

  const int64_t steps_an_epoch = examples->size() / settings.batch_size;
  Progress progress(settings.epochs, steps_an_epoch, settings.batch_size);
  Accuracy test;
  for (int64_t epoch = 1; epoch <= settings.epochs; ++epoch) {
    const DatasetPtr batches =
        batch(shuffle(examples, seed, epoch), settings.batch_size, {.drop_remainder = true});
    EpochSummary summary;
    for (int64_t i = 0; i < batches->size(); ++i) {
      const StepInfo info = run_step(step, batches->get(i), variables, settings, run);
      summary.add(info);
      progress.show(info);
      if (const int signal = stop.received()) {
        progress.clear();
        run.save_weights(variables, epoch, info.step);
        return report_stop(signal, run, info.step);
      }
    }
    test = accuracy(classifier.logits(task.test.images), task.test.labels);
    run.save_weights(variables, epoch, step.step());
    metrics.append(summary.to_json(epoch, settings.batch_size, test));
    progress.clear();
    fmt::print("epoch {}/{}  {}\n", epoch, settings.epochs,
               summary.to_text(settings.batch_size, test));
    std::fflush(stdout);
    if (const int signal = stop.received()) return report_stop(signal, run, step.step());
  }
  fmt::print("{}\nrun {}\n", to_string(test), run.path().string());
  return kOk;
}

}  // namespace rein::app
