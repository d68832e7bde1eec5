// Runs the program as a user would.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace rein::test {

struct Finished {
  int code = -1;  // the exit code, or minus the signal that ended it
  std::string out, err;
};

/// A program that runs in a folder of its own test, its output kept there.
class Program {
 public:
  Program(const TemporaryFolder& folder, std::vector<std::string> arguments,
          std::function<void()> before = {});
  void send(int signal) const;
  /// What it has printed so far.
  std::string out() const;
  std::string err() const;
  /// Waits until `condition` holds; a failure of the test if the program ends before,
  /// or after a minute.
  void wait_until(const std::function<bool()>& condition) const;
  Finished wait();

 private:
  std::filesystem::path out_, err_;
  pid_t pid_;
};

/// Runs it to its end. `before` is called in the new process.
Finished rein(const TemporaryFolder& folder, std::vector<std::string> arguments,
              std::function<void()> before = {});

/// The same with "train" in front, and settings that make a tiny network learn quickly, unless they
/// are among the arguments.
Finished train(const TemporaryFolder& folder, const std::vector<std::string>& arguments);

/// `more`, behind the options, with their values, that are not in it.
std::vector<std::string> with_last(const std::vector<std::string>& options,
                                   const std::vector<std::string>& more);

/// The four files of Fashion-MNIST with a few generated images.
void write_small_data(const std::filesystem::path& folder, int64_t n_train = 96,
                      int64_t n_test = 40);

}  // namespace rein::test
