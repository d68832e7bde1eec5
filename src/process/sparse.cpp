#include "process/sparse.h"

#include <algorithm>
#include <functional>

namespace rein {

void merge_rows(Gradients& gradients) {
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients.kind(i) != Gradients::Kind::sparse) continue;
    const auto rows = gradients.sparse(i).indices.flat<int64_t>();
    if (std::ranges::adjacent_find(rows, std::ranges::greater_equal{}) != rows.end())
      gradients.sparse(i) = merge_duplicates(gradients.sparse(i));
  }
}

}  // namespace rein
