#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <optional>
#include <utility>

#include "bundle.h"
#include "classifier.h"
#include "commands.h"
#include "epoch_summary.h"
#include "names.h"
#include "progress.h"
#include "rein/apply/rules.h"
#include "rein/data/dataset.h"
#include "rein/io/json_lines.h"
#include "run_folder.h"
#include "stop_signal.h"
#include "task.h"
#include "usage_error.h"
#include "watch.h"

namespace rein::app {
namespace {

void check_batches(const TrainSettings& settings, const Dataset& examples) {
  if (settings.batch_size > examples.size())
    throw UsageError(fmt::format("batch_size: {} is more than the {} training examples",
                                 settings.batch_size, examples.size()));
  if (settings.batch_size % settings.accumulate != 0)
    throw UsageError(fmt::format("accumulate: a batch of {} cannot be cut into {} equal parts",
                                 settings.batch_size, settings.accumulate));
}

AnyRule rule_of(const TrainSettings& settings, int64_t steps) {
  const TrainSettings usual;
  if (names_setting(settings.optimizer, "learning_rate") &&
      (settings.learning_rate != usual.learning_rate || settings.schedule != usual.schedule ||
       settings.warmup != usual.warmup))
    throw UsageError(fmt::format(
        "optimizer: {} has a learning rate of its own, so learning_rate, schedule and warmup would "
        "change nothing; give learning_rate={} in their place, or leave them out",
        settings.optimizer, learning_rate_of(settings)));
  AnyRule rule = make_rule(
      settings.optimizer,
      make_schedule(settings.schedule, learning_rate_of(settings), steps, settings.warmup));
  if (settings.clip_updates != "none")
    rule = ClipUpdates{.rule = rule, .clip = make_clip(settings.clip_updates, "clip_updates")};
  if (settings.average > 0) rule = WeightAverage{.rule = rule, .decay = settings.average};
  return rule;
}

StepOptions options_of(const TrainSettings& settings) {
  StepOptions options{.threads = static_cast<int>(settings.threads),
                      .seed = {static_cast<uint64_t>(settings.seed)},
                      .batch_axis = 0};
  options.rollback = make_rollback(settings.rollback);
  options.products = make_products(settings.precision);
  if (settings.loss_scale > 0) options.loss_scale = LossScale{.initial = settings.loss_scale};
  return options;
}

// The learning rate at this step of a run that may have lowered it when it went back.
double present_rate(const TrainSettings& settings, const StateDict& state) {
  const auto rollback = make_rollback(settings.rollback);
  const auto times = state.find("rollback/rollbacks");
  if (!rollback || times == state.end()) return learning_rate_of(settings);
  return learning_rate_of(settings) *
         std::pow(rollback->rate_factor, static_cast<double>(std::get<int64_t>(times->second)));
}

// After a divergence: with the last weights that were saved, if they are worth it.
std::string way_on(const TrainSettings& settings, const RunFolder& run, double rate) {
  const auto saved = run.saved_weights();
  if (!saved) return " in a new run";
  if (!saved->better_than_guessing)
    return fmt::format(
        " in a new run: the weights that were saved ({}) are no better than guessing", saved->what);
  std::string slower;
  if (!names_setting(settings.optimizer, "learning_rate"))  // the flag would be refused
    slower = fmt::format(" --learning-rate {:.2g}", rate / 10);
  if (settings.schedule != "constant") slower += " --schedule constant";
  return fmt::format(
      ", as in 'rein train --from {} --clip global:1{}', which begins with the last weights that "
      "were saved ({})",
      in_shell(run.path()), slower, saved->what);
}

// A step whose loss or gradients are not finite throws before it changes anything, unless it shall
// go on: what it was made of goes into a file.
StepInfo run_step(Step& step, const std::vector<Tensor>& batch, const TrainSettings& settings,
                  const RunFolder& run, const Watch& watch) {
  try {
    const int64_t parts = settings.accumulate;
    for (int64_t i = 0; i + 1 < parts; ++i) step.accumulate_all(part_of(batch, i, parts), Where{});
    return step.run(part_of(batch, parts - 1, parts), Where{});
  } catch (const NonFiniteError& error) {
    const int64_t number = step.step() + 1;
    const ProductOptions products = make_products(settings.precision);
    const StateDict state = step.state();
    write_bundle(run.bundle_file(),
                 {settings, state, batch,
                  products.narrow() ? std::optional(unit_of(products)) : std::nullopt});
    throw NonFiniteError(fmt::format(
        "diverged at step {}: {}\n{}try a smaller --learning-rate or another --clip{}{}\n"
        "'rein replay {}' computes it again and says where numbers cease to be finite",
        number, error.what(), watch.advice(settings),
        way_on(settings, run, present_rate(settings, state)),
        settings.rollback == "none" ? ", or --rollback on:loss_above=4, which goes back by itself"
                                    : "",
        in_shell(run.bundle_file())));
  }
}

// At the end of a run that has learned nothing.
std::string advice_on_loss(double loss, const TrainSettings& settings) {
  if (!(loss > RowLstm::kWorseThanGuessing)) return {};
  return fmt::format(
      "advice: the loss, {}, is above that of guessing, {:.2f}. Lower the learning rate. "
      "(--learning-rate {:.2g})\n",
      loss_text(loss), std::log(RowLstm::kClasses), learning_rate_of(settings) / 10);
}

// As a policy that lets numbers be may leave them.
void warn_unless_finite(const Variables& weights) {
  if (const auto bad = first_non_finite(weights))
    fmt::print(stderr,
               "rein: the weights are not finite, '{}' is the first, so that the run is of no use; "
               "--non-finite stop ends before that and says where it began\n",
               bad->variable);
}

int report_stop(int signal, const RunFolder& run, int64_t step, const Variables& weights,
                const std::filesystem::path& log) {
  warn_unless_finite(weights);
  fmt::print(stderr,
             "stopped by {} after step {}; the weights are in {}\n"
             "'rein train --resume {}{}' goes on\n",
             signal == SIGINT ? "SIGINT" : "SIGTERM", step, run.weights_file().string(),
             in_shell(run.checkpoint_file()), log.empty() ? "" : " --log " + in_shell(log));
  return kSignal + signal;
}

// Throws UsageError if they are those of another network.
void load_weights_of(const std::filesystem::path& path, const TrainSettings& settings,
                     Variables& variables) {
  const RunFolder run = RunFolder::open(path);
  const TrainSettings theirs = run.settings();
  const auto same = [&](const char* key, int64_t of_run, int64_t here) {
    if (of_run != here)
      throw UsageError(
          fmt::format("{}: the weights of {} are of {}, not {}; leave it as it was, "
                      "or begin without --from",
                      key, path.string(), of_run, here));
  };
  same("hidden", theirs.hidden, settings.hidden);
  same("layers", theirs.layers, settings.layers);
  run.load_weights(variables);
}

RunFolder folder_of(const TrainRequest& request) {
  return request.checkpoint ? RunFolder::of_checkpoint(request.checkpoint->file)
                            : RunFolder::create(request.out, request.force);
}

}  // namespace

int train(TrainRequest request) {
  TrainSettings& settings = request.settings;
  check_possible(make_products(settings.precision));
  const ImageTask task = load_task(settings);
  const Seed seed{static_cast<uint64_t>(settings.seed)};
  const DatasetPtr examples = in_memory({task.train.images, task.train.labels});
  check_batches(settings, *examples);
  const int64_t steps_an_epoch = examples->size() / settings.batch_size;

  Variables variables{seed};
  const RowLstm model(variables, settings);
  if (!request.from.empty()) load_weights_of(request.from, settings, variables);
  const auto cost = [&](Value images, Value labels) { return model.cost(images, labels); };
  Watch watch;
  Step step =
      record(cost, variables,
             watch.around(chain(make_check(settings.non_finite), make_clip(settings.clip))),
             rule_of(settings, settings.epochs * steps_an_epoch), options_of(settings), Where{});
  Classifier classifier(model, static_cast<int>(settings.threads));
  EpochSummary summary;
  if (request.checkpoint) {
    resume(*request.checkpoint, settings, steps_an_epoch, step);
    summary = request.checkpoint->summary;
    if (step.step() >= settings.epochs * steps_an_epoch)
      throw UsageError(fmt::format("epochs: {} is {} epoch {}; give more --epochs",
                                   request.checkpoint->file,
                                   step.step() % steps_an_epoch == 0 ? "at the end of" : "in",
                                   (step.step() + steps_an_epoch - 1) / steps_an_epoch));
  }

  std::optional<JsonLines> log;
  if (!request.log.empty()) log.emplace(request.log);
  const RunFolder run = folder_of(request);  // from here on what it held is gone
  write_to_file(settings, run.settings_file());
  JsonLines metrics(run.metrics_file());
  const StopSignal stop;
  fmt::print("training on {}: {} images, {} for the test; {} parameters; run {}{}\n", settings.data,
             examples->size(), task.test.images.shape()[0], variables.parameter_count(),
             run.path().string(),
             step.step() > 0 ? fmt::format("; after step {}", step.step()) : "");
  if (request.checkpoint && request.checkpoint->settings.precision != settings.precision)
    fmt::print("precision changes from {} to {}\n", request.checkpoint->settings.precision,
               settings.precision);
  if (settings.warmup >= settings.epochs * steps_an_epoch)
    fmt::print("warmup: all {} steps of the run are below the learning rate; --warmup is {}\n",
               settings.epochs * steps_an_epoch, settings.warmup);
  std::fflush(stdout);

  Progress progress(settings.epochs, steps_an_epoch, settings.batch_size);
  Accuracy test;
  double last_loss = 0;  // of an epoch
  const auto save = [&](int64_t epoch, const std::string& what, bool better) {
    const SavedWeights told{fmt::format("epoch {}, {}", epoch, what), better};
    step.with_averages([&] { run.save_weights(variables, epoch, step.step(), told); });
    write_checkpoint(run.checkpoint_file(), settings, steps_an_epoch, summary, step);
  };
  while (step.step() < settings.epochs * steps_an_epoch) {
    const int64_t epoch = step.step() / steps_an_epoch + 1;
    const DatasetPtr batches =
        batch(shuffle(examples, seed, epoch), settings.batch_size, {.drop_remainder = true});
    for (int64_t i = step.step() % steps_an_epoch; i < batches->size(); ++i) {
      const StepInfo info = run_step(step, batches->get(i), settings, run, watch);
      summary.add(info);
      if (log) log->append(settings_of(info));
      progress.show(info);
      const int signal = stop.received();
      if (signal == 0 || i + 1 == batches->size()) continue;
      progress.clear();
      save(epoch, fmt::format("step {}", info.step), summary.loss() < RowLstm::kWorseThanGuessing);
      return report_stop(signal, run, info.step, variables, request.log);
    }
    bool better = false;
    step.with_averages([&] {
      const Tensor logits = classifier.logits(task.test.images);
      test = accuracy(logits, task.test.labels);
      better = better_than_guessing(logits, task.test.labels);
    });
    const EpochSummary whole = std::exchange(summary, {});
    save(epoch, fmt::format("test accuracy {:.4f}", test.share()), better);
    last_loss = whole.loss();
    JsonObject told = whole.to_json(epoch, settings.batch_size, test);
    std::ranges::copy(watch.look_inside(model, task.test.images), std::back_inserter(told));
    metrics.append(told);
    progress.clear();
    fmt::print("epoch {}/{}  {}\n", epoch, settings.epochs,
               whole.to_text(settings.batch_size, test));
    std::fflush(stdout);
    if (const int signal = stop.received())
      return report_stop(signal, run, step.step(), variables, request.log);
  }
  fmt::print("{}{}{}\nrun {}\n", advice_on_loss(last_loss, settings), watch.advice(settings),
             to_string(test), run.path().string());
  warn_unless_finite(variables);
  return kOk;
}

}  // namespace rein::app
