// Aligned memory.
#pragma once

#include <cstddef>
#include <memory>

namespace rein {

/// A zeroed block, aligned to a cache line; from 2 MB on to 2 MB, with the advice to use huge pages
/// (a fresh 4 KB page costs microseconds). Copies share nothing: it only moves.
class Buffer {
 public:
  static constexpr size_t kAlignment = 64;

  Buffer() = default;
  explicit Buffer(size_t bytes);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    Free() noexcept : mapped(0) {}
    explicit Free(size_t bytes) noexcept : mapped(bytes) {}
    size_t mapped;  // bytes from the system itself; 0: from the heap
    void operator()(std::byte* p) const noexcept;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

/// The smallest multiple of `unit` (a power of two) that holds `n`.
constexpr size_t round_up(size_t n, size_t unit) { return (n + unit - 1) & ~(unit - 1); }

}  // namespace rein
