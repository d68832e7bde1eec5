// Where ops find the examples of a batch in their results.
#pragma once

#include <optional>
#include <vector>

#include "rein/compute/op.h"

namespace rein {

/// The axis along which examples lie: index k along it belongs to example k / inner % batch.
struct ExampleAxis {
  int axis = 0;
  int64_t inner = 1;
  friend bool operator==(const ExampleAxis&, const ExampleAxis&) = default;
};
/// Nothing unless they are apart along one axis of `shape`.
std::optional<ExampleAxis> example_axis(const Shape& shape, const Examples& examples,
                                        int64_t batch);
Examples along(const Shape& shape, ExampleAxis axis);

/// The axis that all arguments which have examples agree on, if there is one.
std::optional<ExampleAxis> common_axis(const BatchQuery& b);

/// Of a result that takes the axes of its arguments as they are, counted from the right: what
/// stretches and what is elementwise.
std::vector<Examples> examples_of_elements(const BatchQuery& b, const Shape& result);
/// Of results that take the first `axes` axes of all arguments as they are and do anything with
/// the others.
std::vector<Examples> examples_of_rows(const BatchQuery& b, int axes, const Shape& result);

}  // namespace rein
