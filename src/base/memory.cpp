#include "rein/base/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace rein {

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  constexpr size_t kHuge = size_t{2} << 20;
  const size_t alignment = bytes >= kHuge ? kHuge : kAlignment;
  const size_t room = round_up(bytes, alignment);
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, room)));
  if (!data_) throw std::bad_alloc();
  if (alignment == kHuge) madvise(data_.get(), room, MADV_HUGEPAGE);  // advice: failing is fine
  std::memset(data_.get(), 0, room);
}

void Buffer::Free::operator()(std::byte* p) const noexcept { std::free(p); }

}  // namespace rein
