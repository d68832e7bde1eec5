// Small images for the examples. Each is noise with one bright band, two rows high; its class is
// which of the bands 0 .. 3 that is. Read row by row, a network has to remember when the light
// came.
#pragma once

#include <rein/base/random.h>
#include <rein/tensor/tensor.h>

#include <vector>

struct ToyBatch {
  rein::Tensor x;  // [size, 8, 8]
  rein::Tensor y;  // [size], int32
};

inline std::vector<ToyBatch> toy_images(int batches, int64_t size, uint64_t seed) {
  std::vector<ToyBatch> all;
  for (int b = 0; b < batches; ++b) {
    const rein::RandomStream random(rein::Seed{seed}, static_cast<uint64_t>(b));
    rein::Tensor x({size, 8, 8}), y({size}, rein::DType::int32);
    const auto pixels = x.flat<float>();
    const auto labels = y.flat<int32_t>();
    for (size_t i = 0; i < labels.size(); ++i) {
      labels[i] = static_cast<int32_t>(random.below(64 * labels.size() + i, 4));
      for (size_t p = 0; p < 64; ++p) {
        const bool bright = static_cast<int32_t>(p / 16) == labels[i];
        pixels[64 * i + p] = static_cast<float>(0.5 * random.normal(64 * i + p) + (bright ? 1 : 0));
      }
    }
    all.push_back({x, y});
  }
  return all;
}
