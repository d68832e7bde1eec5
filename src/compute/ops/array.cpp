// One array under another shape or in another order.
#include <algorithm>

#include "compute/ops/examples.h"
#include "rein/kernels/copy.h"
#include "rules.h"
#include "strided.h"

namespace rein {
namespace {

struct Reshape {
  static constexpr std::string_view name = "reshape";
  static constexpr int sign_in_sums = 1;
  static constexpr bool attributes_are_shapes = true;
  Shape shape;  // one size may be -1
  bool operator==(const Reshape&) const = default;

  Spec infer(Specs in) const {
    Shape to = shape;
    int open = -1;
    int64_t known = 1;
    for (int axis = 0; axis < to.rank(); ++axis) {
      require(to[axis] >= -1, "a size is negative in " + to_string(shape));
      require(to[axis] >= 0 || open < 0, "more than one -1 in " + to_string(shape));
      if (to[axis] < 0)
        open = axis;
      else
        known *= to[axis];
    }
    if (open >= 0 && known > 0) to[open] = in[0].size() / known;
    require((open < 0 || known > 0) && to.size() == in[0].size(),
            std::to_string(in[0].size()) + " elements do not fit " + to_string(shape));
    return {to, in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  std::vector<int64_t> views(Specs) const { return {0}; }
  void forward(const Run&, Ins, Outs) const {}  // a view
  Cotangents vjp(const Backward& b) const { return {reshape(b.dy(), b.in[0].shape())}; }
};

struct Transpose {
  static constexpr std::string_view name = "transpose";
  std::vector<int> axes;
  bool operator==(const Transpose&) const = default;

  // The axis of x that axis i of the result is.
  int source(int i, int rank) const {
    return axes.empty() ? rank - 1 - i : resolve_axis(axes[static_cast<size_t>(i)], rank);
  }
  Spec infer(Specs in) const {
    const Shape& x = in[0].shape;
    require(axes.empty() || static_cast<int>(axes.size()) == x.rank(),
            std::to_string(axes.size()) + " axes for an array of " + std::to_string(x.rank()));
    Shape shape = x;
    std::vector<int> sorted;
    for (int i = 0; i < x.rank(); ++i) {
      sorted.push_back(source(i, x.rank()));
      shape[i] = x[sorted.back()];
    }
    std::ranges::sort(sorted);
    require(std::ranges::adjacent_find(sorted) == sorted.end(), "an axis is named twice");
    return {shape, in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    const Shape& x = b.in[0].shape;
    const auto at = example_axis(x, b.at[0], b.size);
    for (int i = 0; at && i < x.rank(); ++i)
      if (source(i, x.rank()) == at->axis) return {along(infer(b.in).shape, {i, at->inner})};
    return {};
  }
  // Nothing moves when only axes of size 1 change places.
  std::vector<int64_t> views(Specs in) const {
    int last = -1;
    for (int i = 0; i < in[0].shape.rank(); ++i) {
      const int axis = source(i, in[0].shape.rank());
      if (in[0].shape[axis] == 1) continue;
      if (axis < last) return {};
      last = axis;
    }
    return {0};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Shape &x = in[0].shape(), &y = out[0].shape();
    CopyAxes copy;
    for (int i = 0; i < y.rank(); ++i)
      copy.push({y[i], stride_of(x, source(i, x.rank())), stride_of(y, i)});
    copy.run(in[0], out[0], run.team);
  }
  Cotangents vjp(const Backward& b) const {
    const int rank = b.in[0].shape().rank();
    std::vector<int> back(static_cast<size_t>(rank));
    for (int i = 0; i < rank; ++i) back[static_cast<size_t>(source(i, rank))] = i;
    return {transpose(b.dy(), back)};
  }
};

struct BroadcastTo {
  static constexpr std::string_view name = "broadcast_to";
  static constexpr bool attributes_are_shapes = true;
  Shape shape;
  bool operator==(const BroadcastTo&) const = default;

  Spec infer(Specs in) const {
    require(std::ranges::all_of(shape, [](int64_t d) { return d >= 0; }) &&
                broadcast(in[0].shape, shape) == shape,
            "does not stretch to " + to_string(shape));
    return {shape, in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, shape);
  }
  std::vector<int64_t> views(Specs in) const {
    if (in[0].size() == shape.size()) return {0};
    return {};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Shape& x = in[0].shape();
    CopyAxes copy;
    for (int i = 0; i < shape.rank(); ++i) {
      const int axis = i - (shape.rank() - x.rank());
      const bool stretched = axis < 0 || x[axis] != shape[i];
      copy.push({shape[i], stretched ? 0 : stride_of(x, axis), stride_of(shape, i)});
    }
    copy.run(in[0], out[0], run.team);
  }
  Cotangents vjp(const Backward& b) const { return {sum_to(b.dy(), b.in[0].shape())}; }
};

}  // namespace

Value reshape(Operand x, Shape shape, Where where) {
  return apply(Reshape{shape}, {std::move(x)}, where);
}

Value transpose(Operand x, std::vector<int> axes, Where where) {
  return apply(Transpose{std::move(axes)}, {std::move(x)}, where);
}

Value broadcast_to(Operand x, Shape shape, Where where) {
  return apply(BroadcastTo{shape}, {std::move(x)}, where);
}

}  // namespace rein
