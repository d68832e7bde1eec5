#include "rein/io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "rein/base/error.h"

namespace rein {
namespace {

namespace fs = std::filesystem;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : path_(path) {
    fd_ = open(path.c_str(), flags | O_CLOEXEC, 0666);
    if (fd_ < 0) fail("cannot open it");
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int64_t size() const {
    struct stat status {};
    if (fstat(fd_, &status) != 0) fail("cannot look at it");
    if (!S_ISREG(status.st_mode)) throw IoError(path_, "not a regular file");
    return status.st_size;
  }
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot write to it");
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  size_t read(std::span<char> out) {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::read(fd_, out.data() + done, out.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot read it");
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }
  void sync() {
    if (fsync(fd_) != 0) fail("cannot sync it");
  }
  void close() {
    if (::close(std::exchange(fd_, -1)) != 0) fail("cannot close it");
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw IoError(path_, fmt::format("{}: {}", what, std::strerror(errno)));
  }

  std::string path_;
  int fd_ = -1;
};

// Removes the file that was begun unless it became the real one.
struct Unfinished {
  std::string path;
  bool finished = false;
  ~Unfinished() {
    if (!finished) unlink(path.c_str());
  }
};

}  // namespace

void write_file_atomically(const fs::path& path, std::span<const std::string_view> pieces) {
  const std::string beside = fmt::format("{}.{}.part", path.string(), getpid());
  Descriptor file(beside, O_WRONLY | O_CREAT | O_TRUNC);
  Unfinished unfinished{beside};
  for (std::string_view piece : pieces) file.write(piece);
  file.sync();
  file.close();
  if (std::rename(beside.c_str(), path.c_str()) != 0)
    throw IoError(path.string(), fmt::format("cannot replace it: {}", std::strerror(errno)));
  unfinished.finished = true;
  const fs::path folder = path.parent_path();
  Descriptor(folder.empty() ? "." : folder.string(), O_RDONLY | O_DIRECTORY).sync();
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_file_atomically(path, std::span(&text, 1));
}

std::string read_file(const fs::path& path, int64_t max_bytes) {
  Descriptor file(path.string(), O_RDONLY);
  const int64_t size = file.size();
  if (size > max_bytes)
    throw DataError(path.string(), "size",
                    fmt::format("{} bytes; at most {} are read of such a file", size, max_bytes));
  std::string text(static_cast<size_t>(size), '\0');
  text.resize(file.read(text));
  return text;
}

}  // namespace rein
