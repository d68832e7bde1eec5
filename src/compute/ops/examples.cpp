#include "compute/ops/examples.h"

#include "compute/ops/strided.h"

namespace rein {
namespace {

// `moved` counts an axis of argument i as the result does, which may have no such axis: negative.
template <class Moved>
std::optional<ExampleAxis> common_axis(const BatchQuery& b, const Moved& moved) {
  std::optional<ExampleAxis> all;
  for (size_t i = 0; i < b.in.size(); ++i) {
    if (b.at[i].kind == Examples::Kind::none) continue;
    auto found = example_axis(b.in[i].shape, b.at[i], b.size);
    if (!found) return std::nullopt;
    found->axis = moved(i, found->axis);
    if (found->axis < 0 || (all && *all != *found)) return std::nullopt;
    all = found;
  }
  return all;
}

std::vector<Examples> result_along(const Shape& result, const std::optional<ExampleAxis>& axis) {
  if (!axis) return {};
  return {along(result, *axis)};
}

}  // namespace

std::optional<ExampleAxis> example_axis(const Shape& shape, const Examples& examples,
                                        int64_t batch) {
  if (examples.kind != Examples::Kind::apart) return std::nullopt;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t step = stride_of(shape, axis);
    if (step == 0 || examples.stride < step || examples.stride % step != 0) continue;
    const int64_t inner = examples.stride / step;
    if (shape[axis] == 0 || shape[axis] % (inner * batch) != 0) return std::nullopt;
    return ExampleAxis{axis, inner};
  }
  return std::nullopt;
}

Examples along(const Shape& shape, ExampleAxis axis) {
  return {Examples::Kind::apart, stride_of(shape, axis.axis) * axis.inner};
}

std::optional<ExampleAxis> common_axis(const BatchQuery& b) {
  return common_axis(b, [](size_t, int axis) { return axis; });
}

std::vector<Examples> examples_of_elements(const BatchQuery& b, const Shape& result) {
  return result_along(result, common_axis(b, [&](size_t i, int axis) {
                        return axis + result.rank() - b.in[i].shape.rank();
                      }));
}

std::vector<Examples> examples_of_rows(const BatchQuery& b, int axes, const Shape& result) {
  return result_along(result,
                      common_axis(b, [&](size_t, int axis) { return axis < axes ? axis : -1; }));
}

}  // namespace rein
