// Arrays beside memory that cannot be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

namespace rein::kernels {

/// On which side of an array the untouchable memory lies: nothing is between the two, unless an
/// alignment asks for it.
enum class Guard : uint8_t { end, begin };

/// An array of n elements at the end, or the beginning, of a few pages; what comes after, or
/// before, ends the program when it is read or written. The rest of the pages, on the other side,
/// holds bytes of 0xff, which `intact` looks at. So do the elements at first: floats are NaN.
template <class T, Guard kSide = Guard::end>
class Guarded final {
 public:
  Guarded() = default;
  explicit Guarded(size_t n, size_t alignment = alignof(T)) : size_(n) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = n * sizeof(T);
    inner_ = (bytes + page - 1) / page * page + page;
    outer_ = inner_ + 2 * page;
    void* all = mmap(nullptr, outer_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    all_ = static_cast<std::byte*>(all);
    if (mprotect(inner(), inner_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    std::fill_n(inner(), inner_, std::byte{0xff});
    const size_t offset = kSide == Guard::end ? (inner_ - bytes) / alignment * alignment : 0;
    data_ = reinterpret_cast<T*>(inner() + offset);
  }
  explicit Guarded(std::span<const T> values) : Guarded(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~Guarded() {
    if (all_) munmap(all_, outer_);
  }
  Guarded(Guarded&& other) noexcept { swap(other); }
  Guarded& operator=(Guarded&& other) noexcept {
    swap(other);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

  /// Whether nothing was written beside the array, where it could be.
  bool intact() const {
    const auto untouched = [](const std::byte* from, const void* to) {
      return std::all_of(from, static_cast<const std::byte*>(to),
                         [](std::byte b) { return b == std::byte{0xff}; });
    };
    return untouched(inner(), begin()) &&
           untouched(reinterpret_cast<const std::byte*>(end()), inner() + inner_);
  }

 private:
  std::byte* inner() const { return all_ + (outer_ - inner_) / 2; }
  void swap(Guarded& other) noexcept {
    std::swap(all_, other.all_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(inner_, other.inner_);
    std::swap(outer_, other.outer_);
  }

  std::byte* all_ = nullptr;
  T* data_ = nullptr;
  size_t size_ = 0, inner_ = 0, outer_ = 0;
};

}  // namespace rein::kernels
