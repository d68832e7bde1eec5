// The program: parses the command line, calls a subcommand, turns errors into exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <new>
#include <system_error>

#include "commands.h"
#include "form.h"
#include "names.h"
#include "rein/base/error.h"
#include "rein/base/text.h"
#include "run_folder.h"
#include "usage_error.h"
#include "version.h"

namespace rein::app {
namespace {

std::string flag_of(const TrainOption& option) {
  std::string flag = "--" + std::string(option.key);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

// What may be another when a run goes on.
std::vector<std::string> that_may_change() {
  std::vector<std::string> flags;
  for (const TrainOption& option : train_options())
    if (!option.part_of_the_result) flags.push_back(flag_of(option));
  return flags;
}

std::string twice_text(std::string_view option, size_t times) {
  const bool clips = option == "--clip" || option == "--clip-updates";
  return fmt::format("{} is given {} times; give it once{}", option, times,
                     clips ? ", several clips with + between them, as in value:1+global:5" : "");
}

// Defaults < checkpoint < file < --set < flags.
struct TrainArguments {
  std::string config;
  std::vector<std::string> assignments;
  std::map<std::string_view, std::string> flags;  // by key, those that were given

  TrainSettings resolve(TrainSettings settings) const {
    try {
      if (!config.empty()) set_from_file(settings, config);
    } catch (const DataError& e) {  // not data, but configuration
      throw UsageError(e.what());
    }
    std::map<std::string_view, size_t> times;
    for (const std::string_view assignment : assignments) {
      const std::string_view key = assignment.substr(0, assignment.find('='));
      if (const size_t n = ++times[key]; n > 1)
        throw UsageError(twice_text(fmt::format("--set {}", key), n));
      set_from_assignment(settings, assignment);
    }
    for (const TrainOption& option : train_options())
      if (const auto given = flags.find(option.key); given != flags.end())
        set_from_text(settings, option, given->second);
    return settings;
  }
};

// Before anything was given.
TrainSettings first_settings(const TrainRequest& request) {
  if (request.checkpoint) return request.checkpoint->settings;
  return request.from.empty() ? TrainSettings{} : RunFolder::open(request.from).settings();
}

// The whole command line, once parsed.
struct Arguments {
  TrainArguments train_arguments;
  TrainRequest train;
  std::filesystem::path resume;
  EvalRequest eval;
  PredictRequest predict;
  ReplayRequest replay;
  BenchStepRequest bench_step;
  BenchOptimizerRequest bench_optimizer;
  BenchStreamRequest bench_stream;
  BenchKernelRequest bench_kernel;
};

// As a shell leaves of a variable that is not set.
CLI::Validator named() {
  return CLI::Validator(
      [](const std::string& text) {
        return text.empty() ? std::string("the name is empty") : std::string();
      },
      "");
}

void add_train(CLI::App& app, Arguments& a) {
  CLI::App* train = app.add_subcommand("train", "Train an LSTM on images, row by row");
  for (const TrainOption& option : train_options())
    train
        ->add_option_function<std::string>(
            flag_of(option),
            [&a, key = option.key](const std::string& text) {
              a.train_arguments.flags[key] = text;
            },
            std::string(option.help))
        ->type_name(std::string(option.value))
        ->default_str(text_of(TrainSettings{}, option));
  train->add_option("--config", a.train_arguments.config, "settings from a TOML file")
      ->type_name("FILE")
      ->check(named());
  train
      ->add_option("--set", a.train_arguments.assignments,
                   "one setting as in the file, which it overrides; a flag overrides both")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::Option* out =
      train->add_option("--out", a.train.out, "folder of the run; default runs/1, runs/2, ...")
          ->type_name("DIR")
          ->check(named());
  train->add_flag("--force", a.train.force, "replace a run that is in --out");
  train
      ->add_option(
          "--resume", a.resume,
          fmt::format(
              "go on with a run, in its folder, from its checkpoint.safetensors with its settings; "
              "{} may be others",
              fmt::join(that_may_change(), ", ")))
      ->type_name("RUN")
      ->check(named())
      ->excludes(out);
  train
      ->add_option("--from", a.train.from,
                   "begin a run with the weights of another, and its settings but for those that "
                   "are given")
      ->type_name("RUN")
      ->check(named())
      ->excludes("--resume");
  train->add_option("--log", a.train.log, "append a line of JSON for every step")
      ->type_name("FILE");
  train->footer(list_of_names());
}

// A check without a text of its own in the help.
template <class T>
CLI::Validator within(T least, T most) {
  const auto check = [least, most](const std::string& text) {
    T value{};  // NaN is in no range
    return parse(std::string_view(text), value) && value >= least && value <= most
               ? std::string()
               : fmt::format("Value {} not in range {} to {}", text, least, most);
  };
  return CLI::Validator(check, "");
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "0 takes all")->type_name("N")->check(within(0, 1024));
}

void add_eval(CLI::App& app, Arguments& a) {
  CLI::App* eval = app.add_subcommand("eval", "Test accuracy of a run");
  eval->add_option("run", a.eval.run, "folder of the run")->required()->type_name("RUN");
  eval->add_option("--data", a.eval.data, "other data than the run was trained on")
      ->type_name("DIR");
  add_threads(*eval, a.eval.threads);
}

void add_predict(CLI::App& app, Arguments& a) {
  CLI::App* predict = app.add_subcommand("predict", "Label the images of an IDX file");
  predict->add_option("run", a.predict.run, "folder of the run")->required()->type_name("RUN");
  predict->add_option("file", a.predict.file, "images, 28 x 28")->required()->type_name("FILE");
  CLI::Option* json = predict->add_flag("--json", a.predict.json, "one JSON object a line");
  predict->add_flag("--logits", a.predict.logits, "in JSON, with all logits")->needs(json);
  add_threads(*predict, a.predict.threads);
}

void add_replay(CLI::App& app, Arguments& a) {
  CLI::App* replay = app.add_subcommand(
      "replay", "Compute a step that diverged again, and say where numbers cease to be finite");
  replay
      ->add_option("run", a.replay.run,
                   "folder of a run that diverged, or its diverged.safetensors")
      ->required()
      ->type_name("RUN");
  add_threads(*replay, a.replay.threads);
}

CLI::App& add_bench_command(CLI::App& bench, const char* name, const char* help, int& threads,
                            double& seconds, bool& json) {
  CLI::App* command = bench.add_subcommand(name, help);
  add_threads(*command, threads);
  command->add_option("--seconds", seconds, "how long")
      ->type_name("SECONDS")
      ->default_str(fmt::format("{}", seconds))
      ->check(within(0.0, 3600.0));
  command->add_flag("--json", json, "one JSON object on one line");
  return *command;
}

void add_products(CLI::App& command, ProductOptions& products) {
  CLI::Option* precision = command
                               .add_option_function<std::string>(
                                   "--precision",
                                   [&products](const std::string& text) {
                                     products.precision = make_products(text).precision;
                                   },
                                   "what products round their inputs to: f32, bf16 or bf16x3")
                               ->type_name("P");
  command
      .add_flag("--emulate", products.emulated,
                "narrow products in vector code, which any processor has and is slow")
      ->needs(precision);
}

void add_bench(CLI::App& app, Arguments& a) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed");
  StepBenchSettings& step = a.bench_step.settings;
  CLI::App& step_command = add_bench_command(*bench, "step", "One training step of a named shape",
                                             step.threads, step.seconds, a.bench_step.json);
  step_command.add_option("--shape", step.shape, "what is trained: " + shape_names())
      ->type_name("NAME")
      ->default_str(step.shape);
  step_command.add_option("--cell", a.bench_step.cell, "the recurrent cell: lstm")
      ->type_name("NAME")
      ->default_str(a.bench_step.cell)
      ->check(CLI::IsMember({"lstm"}));
  step_command
      .add_option("--callers", step.callers,
                  "threads that each train a network of their own meanwhile, this one included")
      ->type_name("N")
      ->default_str("1")
      ->check(CLI::Range(1, 64));
  step_command.add_option("--batch", step.batch, "examples, in place of those of the shape")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  step_command
      .add_option_function<std::string>(
          "--per-example",
          [&step](const std::string& way) {
            if (way != "together" && way != "one-by-one")
              throw CLI::ValidationError("--per-example",
                                         way + "; there are together and one-by-one");
            step.way = way == "together" ? StepWay::together : StepWay::one_by_one;
          },
          "clip the gradient of each example: together, or one-by-one")
      ->type_name("WAY");
  add_products(step_command, step.products);
  step_command.add_flag("--monitor", step.monitor, "also what a Monitor would add");

  OptimizerBenchSettings& o = a.bench_optimizer.settings;
  CLI::App& optimizer =
      add_bench_command(*bench, "optimizer", "Clipping and applying gradients, against memory",
                        o.threads, o.seconds, a.bench_optimizer.json);
  optimizer.add_option("--params", o.parameters, "how many parameters")
      ->type_name("N")
      ->default_str(fmt::format("{}", o.parameters));
  optimizer.add_option("--clip", o.clip, "as of 'rein train'")
      ->type_name("FORM")
      ->default_str(o.clip);
  optimizer.add_option("--rule", o.rule, "as of 'rein train'")
      ->type_name("NAME")
      ->default_str(o.rule);

  BenchStreamRequest& stream = a.bench_stream;
  add_bench_command(*bench, "stream", "Memory: one pass over a large array", stream.threads,
                    stream.seconds, stream.json);

  BenchKernelRequest& kernel = a.bench_kernel;
  CLI::App& kernel_command = add_bench_command(*bench, "kernel", "Single kernels", kernel.threads,
                                               kernel.seconds, kernel.json);
  add_products(kernel_command, kernel.products);
}

// The subcommand that was chosen.
const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

// What is wrong with a word that nothing took, with the nearest word that something would.
std::string unexpected(const CLI::App& app) {
  const CLI::App& at = innermost(app);
  const std::string word = app.remaining(true).front();
  std::vector<std::string> names;
  if (word.starts_with('-')) {
    for (const CLI::Option* option : at.get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  } else {
    for (const CLI::App* sub : at.get_subcommands({})) names.push_back(sub->get_name());
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  return fmt::format("'{}' is not expected here{}", word,
                     did_you_mean(word.substr(0, word.find('=')), views));
}

// Of the first option that is given more often than once and takes one value.
std::string given_twice(const CLI::App& app) {
  for (const CLI::Option* option : innermost(app).get_options())
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw && option->count() > 1)
      return twice_text(option->get_name(), option->count());
  return {};
}

int fail(ExitCode code, std::string_view what) {
  fmt::print(stderr, "rein: {}\n", what);
  return code;
}

int fail_to_parse(const CLI::App& app, std::string_view what) {
  std::string command;
  for (const CLI::App* at = &innermost(app); at->get_parent() != nullptr; at = at->get_parent())
    command = at->get_name() + " " + command;
  return fail(kUsage, fmt::format("{}\nTry 'rein {}--help'.", what, command));
}

int parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::ExtrasError&) {
    return fail_to_parse(app, unexpected(app));
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    const std::string twice = given_twice(app);
    return fail_to_parse(app, twice.empty() ? e.what() : twice);
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Rein trains recurrent networks on CPUs, with gradients clipped.", "rein"};
  app.set_version_flag("--version", fmt::format("rein {}", kVersion));
  Arguments a;
  add_train(app, a);
  add_eval(app, a);
  add_predict(app, a);
  add_replay(app, a);
  add_bench(app, a);
  if (const int code = parse(app, argc, argv); code >= 0) return code;

  const CLI::App& command = innermost(app);
  if (command.get_name() == "train") {
    if (!a.resume.empty()) a.train.checkpoint = read_checkpoint(RunFolder::checkpoint_at(a.resume));
    a.train.settings = a.train_arguments.resolve(first_settings(a.train));
    return train(std::move(a.train));
  }
  if (command.get_name() == "eval") return eval(a.eval);
  if (command.get_name() == "predict") return predict(a.predict);
  if (command.get_name() == "replay") return replay(a.replay);
  if (command.get_name() == "step") return measure_step(a.bench_step);
  if (command.get_name() == "optimizer") return measure_optimizer(a.bench_optimizer);
  if (command.get_name() == "stream") return measure_stream(a.bench_stream);
  if (command.get_name() == "kernel") return measure_kernels(a.bench_kernel);
  fmt::print(stderr, "{}", app.help());  // `rein` or `rein bench` alone
  return kUsage;
}

}  // namespace
}  // namespace rein::app

int main(int argc, char** argv) {
  using namespace rein::app;
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) != 0) return fail(kIo, "standard output could not be written");
    return code;
  } catch (const UsageError& e) {
    return fail(kUsage, e.what());
  } catch (const rein::InvalidArgument& e) {
    return fail(kUsage, e.what());
  } catch (const rein::DataError& e) {
    return fail(kData, e.what());
  } catch (const rein::NonFiniteError& e) {
    return fail(kDiverged, e.what());
  } catch (const rein::IoError& e) {
    return fail(kIo, e.what());
  } catch (const std::bad_alloc&) {
    return fail(kIo, "there is not enough memory for this; take a smaller network or batch");
  } catch (const std::system_error& e) {
    return fail(kIo, e.what());
  } catch (const std::exception& e) {
    return fail(kInternal, e.what());
  }
}
