#include "rein/data/idx.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "rein/base/error.h"

namespace rein {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 31;  // of the array: no such data set is larger
constexpr int64_t kMaxDeflateRatio = 1032;       // deflate cannot compress better than that

struct CloseGz {
  void operator()(gzFile file) const noexcept { gzclose(file); }
};

// A file that zlib reads, compressed or not.
class GzReader {
 public:
  explicit GzReader(const std::filesystem::path& path) : path_(path.string()) {
    struct stat status {};
    if (stat(path_.c_str(), &status) != 0) throw IoError(path_, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) throw IoError(path_, "not a regular file");
    bytes_on_disk_ = status.st_size;
    file_.reset(gzopen(path_.c_str(), "rb"));
    if (!file_) throw IoError(path_, std::strerror(errno ? errno : ENOMEM));
    gzbuffer(file_.get(), 1 << 17);
  }

  // Reads up to `count` bytes; fewer only at the end.
  size_t read(uint8_t* out, size_t count) {
    size_t done = 0;
    while (done < count) {
      const auto chunk = static_cast<unsigned>(std::min<size_t>(count - done, 1 << 24));
      const int got = gzread(file_.get(), out + done, chunk);
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    place_ += static_cast<int64_t>(done);
    int code = Z_OK;
    gzerror(file_.get(), &code);
    if (done < count && code != Z_OK && code != Z_STREAM_END) fail();
    return done;
  }

  // Whether what is on disk can hold `count` more bytes.
  bool may_hold(int64_t count) const {
    return count <= (compressed() ? bytes_on_disk_ * kMaxDeflateRatio : bytes_left());
  }
  bool compressed() const { return !gzdirect(file_.get()); }
  int64_t bytes_left() const { return bytes_on_disk_ - place_; }

  [[noreturn]] void fail(std::string_view what) const { fail(place_, what); }
  [[noreturn]] void fail(int64_t byte, std::string_view what) const {
    throw DataError(path_, fmt::format("byte {}", byte), what);
  }

 private:
  [[noreturn]] void fail() const {
    int code = Z_OK;
    const std::string text = gzerror(file_.get(), &code);
    if (code == Z_ERRNO) throw IoError(path_, std::strerror(errno));
    if (code == Z_BUF_ERROR) fail("the compressed file ends early; get it again");
    fail(fmt::format("the compressed file is damaged ({}); get it again", text));
  }

  std::string path_;
  std::unique_ptr<gzFile_s, CloseGz> file_;
  int64_t bytes_on_disk_ = 0;
  int64_t place_ = 0;  // in the uncompressed bytes
};

Shape read_header(GzReader& file, int rank) {
  std::array<uint8_t, 4> magic{};
  if (file.read(magic.data(), magic.size()) < magic.size())
    file.fail(0, "the file ends within its first 4 bytes; get it again");
  if (magic[0] != 0 || magic[1] != 0)
    file.fail(0, "not an IDX file: it does not begin with two zero bytes");
  if (magic[2] != 0x08)
    file.fail(2, fmt::format("element type 0x{:02x}; images and labels are unsigned bytes, type "
                             "0x08",
                             magic[2]));
  if (magic[3] != rank)
    file.fail(3, fmt::format("an array of {} axes where one of {} is expected: images have 3 "
                             "(number, rows, columns), labels 1",
                             magic[3], rank));
  Shape shape;
  int64_t size = 1;
  for (int axis = 0; axis < rank; ++axis) {
    std::array<uint8_t, 4> b{};
    if (file.read(b.data(), b.size()) < b.size())
      file.fail("the file ends within its header; get it again");
    const int64_t dim = int64_t{b[0]} << 24 | b[1] << 16 | b[2] << 8 | b[3];
    if (dim == 0 || dim > kMaxBytes / size)
      file.fail(4 + 4 * axis,
                fmt::format("axis {} has the size {}; the array must have at least one and at most "
                            "{} elements",
                            axis, dim, kMaxBytes));
    size *= dim;
    shape.push_back(dim);
  }
  return shape;
}

}  // namespace

ByteArray read_idx(const std::filesystem::path& path, int rank) {
  GzReader file(path);
  ByteArray array{read_header(file, rank), {}};
  const int64_t record = array.shape.size(1, rank);
  const int64_t size = array.shape.size();
  const auto truncated = [&](int64_t bytes) {
    file.fail(
        fmt::format("the file ends early: it holds {} of the {} records of {} bytes that its "
                    "header declares; get it again",
                    bytes / record, array.shape[0], record));
  };
  if (!file.may_hold(size)) {
    if (!file.compressed()) truncated(file.bytes_left());
    file.fail(
        fmt::format("the header declares {} records of {} bytes, more than the compressed "
                    "file can hold; get it again",
                    array.shape[0], record));
  }

  array.values.resize(static_cast<size_t>(size));
  const size_t got = file.read(array.values.data(), array.values.size());
  if (got < array.values.size()) truncated(static_cast<int64_t>(got));
  uint8_t beyond = 0;
  if (file.read(&beyond, 1) != 0)
    file.fail(4 + 4 * rank + size,
              fmt::format("the file goes on after the {} records of {} bytes that its header "
                          "declares; get it again",
                          array.shape[0], record));
  return array;
}

}  // namespace rein
