#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "rein/base/error.h"
#include "rein/data/idx.h"
#include "rein/data/images.h"

namespace rein {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 28;
constexpr std::array<std::string_view, 4> kFiles{
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte"};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Compressed as it is published, or unpacked.
fs::path find(const fs::path& folder, std::string_view name) {
  for (std::string_view ending : {".gz", ""}) {
    fs::path path = folder / fmt::format("{}{}", name, ending);
    if (is_there(path)) return path;
  }
  throw IoError(folder.string(),
                fmt::format("holds neither {0}.gz nor {0}; install Debian's package "
                            "dataset-fashion-mnist, or name the folder with the four files",
                            name));
}

Tensor read_labels(const fs::path& path) {
  const ByteArray bytes = read_idx(path, 1);
  Tensor labels(bytes.shape, DType::int32);
  const auto out = labels.flat<int32_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    if (bytes.values[i] > 9)
      throw DataError(path.string(), fmt::format("label {}", i),
                      fmt::format("{} is not one of 0 to 9", bytes.values[i]));
    out[i] = bytes.values[i];
  }
  return labels;
}

LabelledImages read_pair(const fs::path& folder, std::string_view images, std::string_view labels) {
  const fs::path images_path = find(folder, images), labels_path = find(folder, labels);
  LabelledImages pair{read_images(images_path), read_labels(labels_path)};
  if (pair.images.shape()[0] != pair.labels.shape()[0])
    throw DataError(
        labels_path.string(), "header",
        fmt::format("{} labels, but {} holds {} images; the files do not belong "
                    "together",
                    pair.labels.shape()[0], images_path.string(), pair.images.shape()[0]));
  return pair;
}

}  // namespace

bool has_fashion_mnist(const fs::path& folder) {
  return std::ranges::any_of(kFiles, [&](std::string_view name) {
    return is_there(folder / name) || is_there(folder / fmt::format("{}.gz", name));
  });
}

ImageTask load_fashion_mnist(const fs::path& folder) {
  return {read_pair(folder, kFiles[0], kFiles[1]), read_pair(folder, kFiles[2], kFiles[3])};
}

Tensor read_images(const fs::path& path) {
  const ByteArray bytes = read_idx(path, 3);
  if (bytes.shape[1] != kSide || bytes.shape[2] != kSide)
    throw DataError(path.string(), "header",
                    fmt::format("images of {} x {}; the model takes {} x {}", bytes.shape[1],
                                bytes.shape[2], kSide, kSide));
  Tensor images(bytes.shape, DType::float32);
  std::ranges::transform(bytes.values, images.flat<float>().begin(),
                         [](uint8_t v) { return static_cast<float>(v) / 255.0f; });
  return images;
}

}  // namespace rein
