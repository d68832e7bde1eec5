#include "process/sparse.h"

#include <algorithm>
#include <functional>

namespace rein {

void merge_in_place(IndexedSlices& slices) {
  const auto rows = slices.indices.flat<int64_t>();
  if (std::ranges::adjacent_find(rows, std::ranges::greater_equal{}) != rows.end())
    slices = merge_duplicates(slices);
}

}  // namespace rein
