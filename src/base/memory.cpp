#include "rein/base/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace rein {
namespace {

constexpr size_t kHuge = size_t{2} << 20;

// Whole huge pages, which the system fills with zeros when they are first touched: what is never
// used costs nothing.
std::byte* map(size_t bytes) {
  void* all =
      mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(all);
  const auto address = reinterpret_cast<uintptr_t>(all);
  const size_t before = round_up(address, kHuge) - address;
  if (before > 0) munmap(begin, before);
  if (before < kHuge) munmap(begin + before + bytes, kHuge - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);  // advice: failing is fine
  return begin + before;
}

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kHuge) {
    const size_t room = round_up(bytes, kHuge);
    data_ = {map(room), Free(room)};
    return;
  }
  const size_t room = round_up(bytes, kAlignment);
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, room)));
  if (!data_) throw std::bad_alloc();
  std::memset(data_.get(), 0, room);
}

void Buffer::Free::operator()(std::byte* p) const noexcept {
  if (mapped > 0)
    munmap(p, mapped);
  else
    std::free(p);
}

}  // namespace rein
