// Denormal numbers make some processors many times slower, and mean nothing in training.
#pragma once

#include <xmmintrin.h>

namespace rein::kernels {

/// Takes denormals for zero, in and out, on this thread while it lives.
class FlushToZero final {
 public:
  FlushToZero() noexcept : before_(_mm_getcsr()) {
    constexpr unsigned kFlush = 0x8000, kDenormalsAreZero = 0x0040;
    _mm_setcsr(before_ | kFlush | kDenormalsAreZero);
  }
  ~FlushToZero() { _mm_setcsr(before_); }
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  unsigned before_;
};

}  // namespace rein::kernels
