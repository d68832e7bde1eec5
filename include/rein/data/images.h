// Small labelled grey images: Fashion-MNIST, and a generated task of the same shape.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>

#include "rein/base/random.h"
#include "rein/tensor/tensor.h"

namespace rein {

struct LabelledImages {
  Tensor images;  // float32 [n, 28, 28], 0 to 1
  Tensor labels;  // int32 [n], 0 to 9
};

struct ImageTask {
  LabelledImages train, test;
};

using ClassNames = std::array<std::string_view, 10>;
inline constexpr ClassNames kFashionMnistClasses{"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                 "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                 "Bag",         "Ankle boot"};
inline constexpr ClassNames kStrokeClasses{
    "0 degrees",  "18 degrees",  "36 degrees",  "54 degrees",  "72 degrees",
    "90 degrees", "108 degrees", "126 degrees", "144 degrees", "162 degrees"};

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr std::string_view kFashionMnistFolder = "/usr/share/datasets/fashion-mnist";

/// Whether the folder holds any of Fashion-MNIST's four files.
bool has_fashion_mnist(const std::filesystem::path& folder);

/// Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 and 10,000 images of 28 x 28, or any data in
/// files of the same names (`train-images-idx3-ubyte`, compressed or not, ...). Throws IoError if a
/// file is missing, DataError if one is damaged, if a label is not in 0 ... 9, if there are not as
/// many labels as images.
ImageTask load_fashion_mnist(const std::filesystem::path& folder = kFashionMnistFolder);

/// The images of an IDX file, scaled to [0, 1]. Throws as `read_idx`, and DataError for images of
/// another size.
Tensor read_images(const std::filesystem::path& path);

/// A task that needs no files: noisy strokes at ten angles, class k at about 18 k degrees, each
/// with a place, width and brightness of its own. An image depends on (seed, its number) alone.
ImageTask generate_strokes(Seed seed, int64_t n_train, int64_t n_test);

}  // namespace rein
