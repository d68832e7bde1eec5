// Runs the cases of a folder of golden files and compares the library with the numbers of other
// libraries. The folder is tests/golden/data, or the one that REIN_GOLDEN_DIR names.
//
//     golden_test [--filter TEXT] [--prefix TEXT] [--bf16x3] [--none-skipped] [--verbose]
//
// Only cases with --filter in their names that begin with --prefix. --bf16x3 trains networks with
// such products, emulated: the bits are those of the unit. Exit status: 0 if nothing
// failed, 1 if a case did (or was skipped, with --none-skipped), 2 if there was nothing to run.
#include "golden.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

namespace golden {

Case::Case(const Json& object)
    : json(&object),
      name(object.at("name").string()),
      semantics(object.at("semantics").string()),
      op(object.at("op").string()) {}

namespace {

struct Options {
  std::string filter{}, prefix{};
  bool none_skipped = false;
  bool verbose = false;
  rein::ProductOptions products{};
};

struct Counts {
  int passed = 0, failed = 0, skipped = 0;  // cases, and files that cannot be read
  int all() const { return passed + failed + skipped; }
};

const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> all{
      {"clip", clip_family()}, {"optimizer", optimizer_family()},
      {"cell", cell_family()}, {"network", network_family()},
      {"loss", loss_family()}, {"schedule", schedule_family()}};
  return all;
}

const Handler& handler_of(const std::string& family, const Case& c) {
  const auto found = families().find(family);
  if (found == families().end()) throw Skip("family '" + family + "' is not known");
  for (const auto& handler : found->second)
    if (handler.op == c.op && handler.semantics == c.semantics) return handler;
  throw Skip("op '" + c.op + "' of '" + c.semantics + "' is not built yet");
}

// Whether everything in the case is understood.
void understand(const Handler& handler, const Case& c) {
  only(c.attrs(), handler.attrs, "attribute");
  Names inputs{"name", "reference", "semantics", "op",         "attrs",     "expect",
               "rtol", "atol",      "note",      "slots_rtol", "slots_atol"};
  inputs.insert(inputs.end(), handler.inputs.begin(), handler.inputs.end());
  only(*c.json, inputs, "input");
  Names expect{"error"};
  expect.insert(expect.end(), handler.expect.begin(), handler.expect.end());
  only(c.expect(), expect, "expectation");
}

// What is wrong; nothing if the case passes.
std::vector<std::string> run(const std::string& family, const Case& c) {
  const Handler& handler = handler_of(family, c);
  understand(handler, c);
  Check check(c);
  const Json* error = check.want("error");
  try {
    handler.run(c, check);
  } catch (const rein::Error& thrown) {
    if (error) return {};
    return {std::string("threw ") + thrown.what()};
  }
  if (error) return {"did not throw where the reference throws " + error->text};
  check.finish();
  return check.wrong();
}

void run_case(const std::string& family, const Json& json, const Options& options, Counts& counts) {
  Case c(json);
  c.products = options.products;
  if (c.name.find(options.filter) == std::string::npos || !c.name.starts_with(options.prefix))
    return;
  std::vector<std::string> wrong;
  try {
    wrong = run(family, c);
  } catch (const Skip& reason) {
    ++counts.skipped;
    std::printf("skipped %s: %s\n", c.name.c_str(), reason.what());
    return;
  } catch (const std::exception& e) {
    wrong = {e.what()};
  }
  ++(wrong.empty() ? counts.passed : counts.failed);
  if (wrong.empty()) {
    if (options.verbose) std::printf("passed %s\n", c.name.c_str());
    return;
  }
  const size_t shown = options.verbose ? wrong.size() : 1;
  for (size_t i = 0; i < shown; ++i)
    std::printf("%s %s: %s\n", i == 0 ? "failed" : "      ", c.name.c_str(), wrong[i].c_str());
  if (shown < wrong.size()) std::printf("       and %zu more\n", wrong.size() - shown);
}

void run_file(const std::filesystem::path& path, const Options& options, Counts& counts) {
  const auto fail = [&](const std::exception& e) {
    ++counts.failed;
    std::printf("failed %s: %s\n", path.c_str(), e.what());
  };
  try {
    const Json file = read_json(path);
    const auto& family = file.at("family").string();
    if (file.at("schema").as<int64_t>() != 1) throw std::runtime_error("is of another schema");
    for (const auto& json : file.at("cases").items) try {
        run_case(family, json, options, counts);
      } catch (const std::exception& e) {
        fail(e);
      }
  } catch (const std::exception& e) {
    fail(e);
  }
}

int run_folder(const std::filesystem::path& folder, const Options& options) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Counts counts;
  for (const auto& path : files) run_file(path, options, counts);
  std::printf("golden: %d passed, %d failed, %d skipped\n", counts.passed, counts.failed,
              counts.skipped);
  if (counts.all() == 0) {
    std::fprintf(stderr, "golden_test: no cases in %s\n", folder.c_str());
    return 2;
  }
  return counts.failed > 0 || (options.none_skipped && counts.skipped > 0) ? 1 : 0;
}

}  // namespace
}  // namespace golden

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what a crash leaves behind names the place
  golden::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--verbose") {
      options.verbose = true;
    } else if (arg == "--filter" && i + 1 < argc) {
      options.filter = argv[++i];
    } else if (arg == "--prefix" && i + 1 < argc) {
      options.prefix = argv[++i];
    } else if (arg == "--none-skipped") {
      options.none_skipped = true;
    } else if (arg == "--bf16x3") {
      options.products = {.precision = rein::Precision::bf16x3, .emulated = true};
    } else {
      std::fprintf(stderr,
                   "usage: golden_test [--filter TEXT] [--prefix TEXT] [--bf16x3] "
                   "[--none-skipped] [--verbose]\n");
      return 2;
    }
  }
  const char* folder = std::getenv("REIN_GOLDEN_DIR");
  return golden::run_folder(folder && *folder ? folder : REIN_GOLDEN_DATA, options);
}
