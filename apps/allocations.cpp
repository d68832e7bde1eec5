#include "allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace rein::app {
namespace {
// What a replaced operator new can reach.
constinit std::atomic<int64_t> count{0};
}  // namespace

int64_t allocation_count() noexcept { return count.load(std::memory_order_relaxed); }

namespace {

[[maybe_unused]] void* counted(void* memory) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace
}  // namespace rein::app

// Sanitizers bring their own; under them nothing is counted.
#ifndef REIN_SANITIZED
// The other forms (arrays, nothrow) call these two.
void* operator new(size_t size) { return rein::app::counted(std::malloc(size ? size : 1)); }
void* operator new(size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<size_t>(alignment);
  return rein::app::counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif
