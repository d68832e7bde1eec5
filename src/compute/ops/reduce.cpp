#include "rein/kernels/reduce.h"

#include <algorithm>
#include <array>
#include <bitset>

#include "compute/ops/examples.h"
#include "compute/ops/reduce.h"
#include "rules.h"

namespace rein {
namespace {

// One reduction along the middle of [outer, n, inner].
struct Pass {
  int64_t outer = 1, n = 1, inner = 1;
  int64_t result() const { return outer * inner; }
};

// At most one for each axis. In place, because a recorded step allocates nothing.
struct Passes {
  std::array<Pass, Shape::kMaxRank> pass{};
  size_t count = 0;
};

// Which axes are reduced: all of them if none is named.
using Axes = std::bitset<Shape::kMaxRank>;
Axes reduced_axes(std::span<const int> axes, int rank) {
  Axes reduced;
  for (int axis : axes) reduced.set(static_cast<size_t>(axis < 0 ? axis + rank : axis));
  for (int axis = 0; axes.empty() && axis < rank; ++axis) reduced.set(static_cast<size_t>(axis));
  return reduced;
}

// Neighbouring axes that share their fate are folded together; then the groups are reduced one
// after the other, the last one first, so that each pass leaves less for the next.
Passes passes_of(const Shape& shape, Axes axes) {
  Passes passes;
  int64_t inner = 1;
  const auto is_reduced = [&](int axis) { return axes[static_cast<size_t>(axis)]; };
  for (int end = shape.rank(); end > 0;) {
    const bool reduced = is_reduced(end - 1);
    int first = end - 1;
    while (first > 0 && (shape[first - 1] == 1 || is_reduced(first - 1) == reduced)) --first;
    const int64_t n = shape.size(first, end);
    if (!reduced)
      inner *= n;
    else if (n != 1)
      passes.pass[passes.count++] = {shape.size(0, first), n, inner};
    end = first;
  }
  return passes;
}

enum class Kind { sum, mean, max };

template <Kind kKind>
struct Reduction {
  static constexpr std::string_view name = kKind == Kind::sum    ? "reduce_sum"
                                           : kKind == Kind::mean ? "reduce_mean"
                                                                 : "reduce_max";
  std::vector<int> axes;
  bool keepdims = false;
  bool operator==(const Reduction&) const = default;

  // The result's shape when every axis is kept, at size 1 where reduced.
  Shape kept(const Shape& x) const {
    Shape shape = x;
    for (int axis : resolve_axes(axes, x.rank())) shape[axis] = 1;
    return shape;
  }

  Spec infer(Specs in) const {
    require_floating(in[0]);
    const Shape& x = in[0].shape;
    const auto all = resolve_axes(axes, x.rank());
    Spec out{{}, in[0].dtype};
    for (int axis = 0; axis < x.rank(); ++axis) {
      if (std::ranges::count(all, axis) == 0)
        out.shape.push_back(x[axis]);
      else if (keepdims)
        out.shape.push_back(1);
      if (kKind == Kind::max && std::ranges::count(all, axis) > 0)
        require(x[axis] > 0, "no elements along axis " + std::to_string(axis));
    }
    return out;
  }

  std::vector<Examples> examples(const BatchQuery& b) const {
    const Shape& x = b.in[0].shape;
    auto at = example_axis(x, b.at[0], b.size);
    if (!at) return {};
    const Axes reduced = reduced_axes(axes, x.rank());
    if (reduced[static_cast<size_t>(at->axis)])
      return kKind == Kind::sum ? std::vector<Examples>{{Examples::Kind::sum}}
                                : std::vector<Examples>{};
    if (!keepdims)
      for (int axis = at->axis; axis-- > 0;) at->axis -= reduced[static_cast<size_t>(axis)];
    return {along(infer(b.in).shape, *at)};
  }

  Passes passes(const Shape& x) const { return passes_of(x, reduced_axes(axes, x.rank())); }

  // Two intermediate results take turns, then what the kernel needs.
  struct Room {
    int64_t turn[2] = {0, 0}, kernel = 0;
    int64_t size() const { return turn[0] + turn[1] + kernel; }
  };
  static Room room_of(const Passes& passes) {
    Room room;
    for (size_t i = 0; i < passes.count; ++i) {
      const Pass& p = passes.pass[i];
      if (i + 1 < passes.count) room.turn[i % 2] = std::max(room.turn[i % 2], p.result());
      room.kernel = std::max(room.kernel, kernels::reduce_axis_scratch(p.outer, p.n, p.inner));
    }
    return room;
  }
  size_t scratch(Specs in) const {
    return static_cast<size_t>(room_of(passes(in[0].shape)).size()) * size_of(in[0].dtype);
  }

  // Nothing is to be done when the reduced axes have size 1.
  std::vector<int64_t> views(Specs in) const {
    if (passes(in[0].shape).count == 0) return {0};
    return {};
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const Passes all = passes(in[0].shape());
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      const Room room = room_of(all);
      T* turns[] = {reinterpret_cast<T*>(run.scratch),
                    reinterpret_cast<T*>(run.scratch) + room.turn[0]};
      T* rest = reinterpret_cast<T*>(run.scratch) + room.turn[0] + room.turn[1];
      T* y = out[0].as<T>();
      const T* x = in[0].as<T>();
      for (size_t i = 0; i < all.count; ++i) {
        const Pass& p = all.pass[i];
        T* to = i + 1 == all.count ? y : turns[i % 2];
        if constexpr (kKind == Kind::max)
          kernels::max_axis(x, to, p.outer, p.n, p.inner, rest, run.team);
        else
          kernels::sum_axis(x, to, p.outer, p.n, p.inner, rest, run.team);
        x = to;
      }
      if constexpr (kKind == Kind::mean) {
        const T n = static_cast<T>(count(in[0].shape()));
        for (int64_t i = 0; i < out[0].size(); ++i) y[i] /= n;
      }
    });
  }

  // How many elements make one of the result.
  int64_t count(const Shape& x) const {
    int64_t n = 1;
    const Axes reduced = reduced_axes(axes, x.rank());
    for (int axis = 0; axis < x.rank(); ++axis)
      if (reduced[static_cast<size_t>(axis)]) n *= x[axis];
    return n;
  }

  Cotangents vjp(const Backward& b) const {
    const Value x = b.in[0];
    const Shape shape = kept(x.shape());
    if constexpr (kKind == Kind::sum) {
      return {broadcast_to(reshape(b.dy(), shape), x.shape())};
    } else if constexpr (kKind == Kind::mean) {
      return {
          broadcast_to(reshape(b.dy() / static_cast<double>(count(x.shape())), shape), x.shape())};
    } else {
      const Value largest = 1.0 - greater(reshape(b.y(), shape), x);
      const Value shared = reduce_sum(largest, {.axes = axes, .keepdims = true});
      return {largest * (reshape(b.dy(), shape) / shared)};
    }
  }
};

}  // namespace

std::optional<std::vector<int>> axes_of_sum(const Graph::Node& node) {
  if (!node.op || node.op->name != Reduction<Kind::sum>::name) return std::nullopt;
  const auto& sum = *static_cast<const Reduction<Kind::sum>*>(node.attributes.get());
  return resolve_axes(sum.axes, node.in[0].shape().rank());
}

Value reduce_sum(Operand x, Reduce options, Where where) {
  return apply(Reduction<Kind::sum>{std::move(options.axes), options.keepdims}, {std::move(x)},
               where);
}
Value reduce_mean(Operand x, Reduce options, Where where) {
  return apply(Reduction<Kind::mean>{std::move(options.axes), options.keepdims}, {std::move(x)},
               where);
}
Value reduce_max(Operand x, Reduce options, Where where) {
  return apply(Reduction<Kind::max>{std::move(options.axes), options.keepdims}, {std::move(x)},
               where);
}

}  // namespace rein
