// The program: parses the command line, calls a subcommand, turns errors into exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "commands.h"
#include "rein/base/error.h"
#include "rein/base/text.h"
#include "usage_error.h"
#include "version.h"

namespace rein::app {
namespace {

std::string flag_of(const TrainOption& option) {
  std::string flag = "--" + std::string(option.key);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

// Defaults < file < --set < flags.
struct TrainArguments {
  std::string config;
  std::vector<std::string> assignments;
  std::map<std::string_view, std::string> flags;  // by key, those that were given

  TrainSettings resolve() const {
    TrainSettings settings;
    try {
      if (!config.empty()) set_from_file(settings, config);
    } catch (const DataError& e) {  // not data, but configuration
      throw UsageError(e.what());
    }
    for (const std::string& assignment : assignments) set_from_assignment(settings, assignment);
    for (const TrainOption& option : train_options()) {
      const auto given = flags.find(option.key);
      if (given == flags.end()) continue;
      try {
        set_from_text(settings, option, given->second);
      } catch (const UsageError& e) {
        throw UsageError(fmt::format("{}: {}", flag_of(option), e.what()));
      }
    }
    return settings;
  }
};

// The whole command line, once parsed.
struct Arguments {
  TrainArguments train_arguments;
  TrainRequest train;
  EvalRequest eval;
  PredictRequest predict;
};

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
        ->type_name(std::string(option.value));
  train->add_option("--config", a.train_arguments.config, "settings from a TOML file")
      ->type_name("FILE");
  train
      ->add_option("--set", a.train_arguments.assignments,
                   "one setting as in the file; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  train->add_option("--out", a.train.out, "folder of the run; default runs/1, runs/2, ...")
      ->type_name("DIR");
  train->add_flag("--force", a.train.force, "replace a run that is in --out");
}

void add_eval(CLI::App& app, Arguments& a) {
  CLI::App* eval = app.add_subcommand("eval", "Test accuracy of a run");
  eval->add_option("run", a.eval.run, "folder of the run")->required()->type_name("RUN");
  eval->add_option("--data", a.eval.data, "other data than the run was trained on")
      ->type_name("DIR");
  eval->add_option("--threads", a.eval.threads, "0 takes all")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
}

void add_predict(CLI::App& app, Arguments& a) {
  CLI::App* predict = app.add_subcommand("predict", "Label the images of an IDX file");
  predict->add_option("run", a.predict.run, "folder of the run")->required()->type_name("RUN");
  predict->add_option("file", a.predict.file, "images, 28 x 28")->required()->type_name("FILE");
  CLI::Option* json = predict->add_flag("--json", a.predict.json, "one JSON object a line");
  predict->add_flag("--logits", a.predict.logits, "in JSON, with all logits")->needs(json);
  predict->add_option("--threads", a.predict.threads, "0 takes all")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
}

// What is wrong with a word that nothing took, with the nearest word that something would.
std::string unexpected(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const std::string word = app.remaining(true).front();
  std::vector<std::string> names;
  if (word.starts_with('-')) {
    for (const CLI::Option* option : at->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  } else {
    for (const CLI::App* sub : at->get_subcommands({})) names.push_back(sub->get_name());
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  return fmt::format("'{}' is not expected here{}", word,
                     did_you_mean(word.substr(0, word.find('=')), views));
}

int fail(ExitCode code, std::string_view what) {
  fmt::print(stderr, "rein: {}\n", what);
  return code;
}

int parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::ExtrasError&) {
    return fail(kUsage, unexpected(app) + "\nTry 'rein --help'.");
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    return fail(kUsage, std::string(e.what()) + "\nTry 'rein --help'.");
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Rein trains recurrent networks on CPUs, with gradients clipped.", "rein"};
  app.set_version_flag("--version", fmt::format("rein {}", kVersion));
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  Arguments a;
  add_train(app, a);
  add_eval(app, a);
  add_predict(app, a);
  if (const int code = parse(app, argc, argv); code >= 0) return code;
  if (app.got_subcommand("eval")) return eval(a.eval);
  if (app.got_subcommand("predict")) return predict(a.predict);
  if (!app.got_subcommand("train")) {
    fmt::print(stderr, "{}", app.help());
    return kUsage;
  }
  a.train.settings = a.train_arguments.resolve();
  return train(std::move(a.train));
}

}  // namespace
}  // namespace rein::app

int main(int argc, char** argv) {
  using namespace rein::app;
  try {
    return run(argc, argv);
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
  } catch (const std::exception& e) {
    return fail(kInternal, e.what());
  }
}
