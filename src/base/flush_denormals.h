// Denormal numbers make some processors many times slower, and mean nothing in training.
#pragma once

#include <xmmintrin.h>

namespace rein {

/// Takes denormals for zero, in and out, on this thread and in what its teams do, while it lives.
class FlushDenormals final {
 public:
  FlushDenormals() noexcept : before_(_mm_getcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero);
  }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

}  // namespace rein
