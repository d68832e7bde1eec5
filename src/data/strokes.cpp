#include <algorithm>
#include <cmath>
#include <numbers>

#include "rein/data/images.h"

namespace rein {
namespace {

constexpr int64_t kSide = 28;
constexpr int64_t kPixels = kSide * kSide;
constexpr double kNoise = 0.15;

// One stroke: bright within half its width of a line segment, fading over a pixel, on noise.
void draw_stroke(const RandomStream& random, int32_t label, std::span<float> pixels) {
  uint64_t next = 0;
  const auto between = [&](double low, double high) {
    return low + (high - low) * random.uniform(next++);
  };
  const double angle = (18 * label + between(-6, 6)) * std::numbers::pi / 180;
  const double x0 = between(9, 18), y0 = between(9, 18);
  const double half_length = between(6, 9), half_width = between(0.7, 1.8);
  const double brightness = between(0.6, 1);
  for (int64_t y = 0; y < kSide; ++y)
    for (int64_t x = 0; x < kSide; ++x) {
      const double dx = static_cast<double>(x) - x0, dy = static_cast<double>(y) - y0;
      const double along = std::abs(dx * std::cos(angle) + dy * std::sin(angle));
      const double across = std::abs(dy * std::cos(angle) - dx * std::sin(angle));
      const double outside = std::max(along - half_length, across - half_width);
      const double light = brightness * std::clamp(1 - outside, 0.0, 1.0);
      const double noise = kNoise * random.normal(next++);
      pixels[static_cast<size_t>(y * kSide + x)] =
          static_cast<float>(std::clamp(light + noise, 0.0, 1.0));
    }
}

LabelledImages generate(Seed seed, std::string_view name, int64_t count) {
  LabelledImages made{Tensor({count, kSide, kSide}), Tensor({count}, DType::int32)};
  for (int64_t i = 0; i < count; ++i) {
    const RandomStream random(seed, stream_of(name) + static_cast<uint64_t>(i));
    const auto label = static_cast<int32_t>(i % 10);
    made.labels.flat<int32_t>()[static_cast<size_t>(i)] = label;
    draw_stroke(random, label,
                made.images.flat<float>().subspan(static_cast<size_t>(i * kPixels), kPixels));
  }
  return made;
}

}  // namespace

ImageTask generate_strokes(Seed seed, int64_t n_train, int64_t n_test) {
  return {generate(seed, "strokes/train", n_train), generate(seed, "strokes/test", n_test)};
}

}  // namespace rein
