// Models and numbers that the tests of the graph share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "rein/compute/ops.h"
#include "rein/compute/recording.h"
#include "rein/compute/tape.h"
#include "support/error_text.h"

namespace rein::test {

inline Initializer filled(double value) {
  return [=](const Shape&, const RandomStream&, std::span<double> out) {
    std::fill(out.begin(), out.end(), value);
  };
}
inline Initializer counting() {
  return [](const Shape&, const RandomStream&, std::span<double> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(i + 1);
  };
}
inline Initializer normal() {
  return [](const Shape&, const RandomStream& random, std::span<double> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = random.normal(i);
  };
}

inline Tensor draw(const Spec& spec, uint64_t stream) {
  Tensor t(spec.shape, DType::float64);
  const RandomStream random(Seed{17}, stream);
  auto x = t.flat<double>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.normal(i);
  return t.cast(spec.dtype);
}

/// All elements, as doubles.
inline std::vector<double> numbers(const Tensor& t) {
  const Tensor d = t.cast(DType::float64);
  const auto x = d.flat<double>();
  return {x.begin(), x.end()};
}
using Numbers = std::vector<double>;

}  // namespace rein::test
