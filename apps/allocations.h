// How often this program takes memory from the heap by `new`, its libraries included.
#pragma once

#include <cstdint>

namespace rein::app {

/// Calls of operator new so far, on all threads. (What C libraries take by malloc is not seen.)
int64_t allocation_count() noexcept;

}  // namespace rein::app
