#include "app/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "rein/data/images.h"

namespace rein::test {
namespace {

std::filesystem::path program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rein";
}

void redirect(int descriptor, const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(file, descriptor);
  close(file);
}

}  // namespace

Program::Program(const TemporaryFolder& folder, std::vector<std::string> arguments,
                 std::function<void()> before) {
  static std::atomic<int> count{0};
  const std::string name = "output." + std::to_string(++count);
  out_ = folder / (name + ".out");
  err_ = folder / (name + ".err");
  const std::string path = program().string();
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  redirect(STDOUT_FILENO, out_);
  redirect(STDERR_FILENO, err_);
  if (chdir(folder.path().c_str()) != 0) _exit(126);
  if (before) before();
  execv(path.c_str(), argv.data());
  _exit(127);
}

void Program::send(int signal) const { kill(pid_, signal); }
std::string Program::out() const { return read_bytes(out_); }
std::string Program::err() const { return read_bytes(err_); }

void Program::wait_until(const std::function<bool()>& condition) const {
  const auto start = std::chrono::steady_clock::now();
  while (!condition()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid != 0 || std::chrono::steady_clock::now() - start > std::chrono::minutes(1)) {
      ADD_FAILURE() << "it did not happen; stdout: " << out() << " stderr: " << err();
      return;
    }
  }
}

Finished Program::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), out(), err()};
}

Finished rein(const TemporaryFolder& folder, std::vector<std::string> arguments,
              std::function<void()> before) {
  return Program(folder, std::move(arguments), std::move(before)).wait();
}

Finished train(const TemporaryFolder& folder, const std::vector<std::string>& arguments) {
  const std::vector<std::string> usual{"--data", "generated",    "--limit", "64",       "--hidden",
                                       "8",      "--batch-size", "16",      "--epochs", "1"};
  std::vector<std::string> all = with_last(usual, arguments);
  all.insert(all.begin(), "train");
  return rein(folder, std::move(all));
}

std::vector<std::string> with_last(const std::vector<std::string>& options,
                                   const std::vector<std::string>& more) {
  std::vector<std::string> all;
  bool keep = true;
  for (const std::string& word : options) {
    if (word.starts_with("--")) keep = std::ranges::find(more, word) == more.end();
    if (keep) all.push_back(word);
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void write_small_data(const std::filesystem::path& folder, int64_t n_train, int64_t n_test) {
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const Shape& shape, const auto& values,
                         float factor) {
    std::string bytes{0, 0, 8, static_cast<char>(shape.rank())};
    for (int64_t dim : shape)
      for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(dim >> shift & 255);
    for (auto v : values) bytes += static_cast<char>(static_cast<float>(v) * factor);
    write_bytes(folder / name, bytes);
  };
  const ImageTask task = generate_strokes(Seed{3}, n_train, n_test);
  for (const auto& [name, part] : {std::pair{"train", task.train}, std::pair{"t10k", task.test}}) {
    write(std::string(name) + "-images-idx3-ubyte", part.images.shape(), part.images.flat<float>(),
          255);
    write(std::string(name) + "-labels-idx1-ubyte", part.labels.shape(),
          part.labels.flat<int32_t>(), 1);
  }
}

}  // namespace rein::test
