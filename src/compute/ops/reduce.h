// What others have to know of a recorded sum.
#pragma once

#include <optional>
#include <vector>

#include "rein/compute/graph.h"

namespace rein {

/// The axes that a node of reduce_sum sums over, in rising order; nothing for other nodes.
std::optional<std::vector<int>> axes_of_sum(const Graph::Node& node);

}  // namespace rein
