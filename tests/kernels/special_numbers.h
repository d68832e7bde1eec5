// Numbers with special ones among them, for comparing a kernel with its plain twin.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "rein/base/random.h"

namespace rein::kernels {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kGuard = 12345;

// Random numbers with some special ones among them, and a guard behind.
inline std::vector<float> numbers(size_t n, uint64_t stream) {
  std::vector<float> x(n + 1, kGuard);
  const RandomStream random(Seed{5}, stream);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(random.normal(i));
  const float special[] = {kNaN, kInf, -kInf, 0.0f, -0.0f, 1e-40f, 3e38f};
  for (size_t i = 0; i < n; ++i)
    if (i % 5 == stream % 5) x[i] = special[(i / 5 + n) % 7];
  return x;
}

inline void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, size_t n) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;  // whatever bits a NaN has
    EXPECT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << "n " << n << " element " << i << ": " << a[i] << " and " << b[i];
  }
}

}  // namespace rein::kernels
