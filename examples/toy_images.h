// Small images for the examples. Each is noise with one bright band, a quarter of the rows high;
// its class is which of the bands 0 .. 3 that is. Read row by row, a network has to remember when
// the light came.
#pragma once

#include <rein/base/random.h>
#include <rein/tensor/tensor.h>

#include <vector>

struct ToyBatch {
  rein::Tensor x;  // [size, rows, columns]
  rein::Tensor y;  // [size], int32
};

inline std::vector<ToyBatch> toy_images(int batches, int64_t size, uint64_t seed, int64_t rows = 8,
                                        int64_t columns = 8) {
  std::vector<ToyBatch> all;
  for (int b = 0; b < batches; ++b) {
    const rein::RandomStream noise(rein::Seed{seed}, 2 * static_cast<uint64_t>(b));
    const rein::RandomStream bands(rein::Seed{seed}, 2 * static_cast<uint64_t>(b) + 1);
    rein::Tensor x({size, rows, columns}), y({size}, rein::DType::int32);
    const auto pixels = x.flat<float>();
    const auto labels = y.flat<int32_t>();
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(bands.below(i, 4));
    for (size_t p = 0; p < pixels.size(); ++p) {
      const auto row = static_cast<int64_t>(p) / columns % rows,
                 image = static_cast<int64_t>(p) / columns / rows;
      const bool bright = row * 4 / rows == labels[static_cast<size_t>(image)];
      pixels[p] = static_cast<float>(0.5 * noise.normal(p) + (bright ? 1 : 0));
    }
    all.push_back({x, y});
  }
  return all;
}
