// Boxes cut out of an array, and arrays set into a larger one.
#include <algorithm>

#include "compute/ops/examples.h"
#include "rules.h"
#include "strided.h"

namespace rein {
namespace {

// The steps of a copy of `box` between two row-major arrays.
CopyAxes box_axes(const Shape& box, const Shape& from, const Shape& to) {
  CopyAxes copy;
  for (int i = 0; i < box.rank(); ++i) copy.push({box[i], stride_of(from, i), stride_of(to, i)});
  return copy;
}

// If what an axis is cut into is whole batches, the same example is at the same place in each.
std::vector<Examples> from_whole_batches(ExampleAxis at, int64_t batch,
                                         std::initializer_list<int64_t> pieces,
                                         const Shape& result) {
  for (int64_t piece : pieces)
    if (piece % (at.inner * batch) != 0) return {};
  return {along(result, at)};
}

struct Slice {
  static constexpr std::string_view name = "slice";
  static constexpr bool attributes_are_shapes = true;
  std::vector<int64_t> begin, size;  // a size of -1: to the end
  bool operator==(const Slice&) const = default;

  Spec infer(Specs in) const {
    const Shape& x = in[0].shape;
    const auto rank = static_cast<size_t>(x.rank());
    require(begin.size() == rank && size.size() == rank,
            "needs one begin and one size for each of " + std::to_string(rank) + " axes");
    Spec out = in[0];
    for (int i = 0; i < x.rank(); ++i) {
      const int64_t b = begin[static_cast<size_t>(i)], n = size[static_cast<size_t>(i)];
      require(b >= 0 && b <= x[i] && n >= -1 && n <= x[i] - b,
              "begin " + std::to_string(b) + " and size " + std::to_string(n) + " leave axis " +
                  std::to_string(i));
      out.shape[i] = n == -1 ? x[i] - b : n;
    }
    return out;
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    const auto at = example_axis(b.in[0].shape, b.at[0], b.size);
    if (!at) return {};
    const Shape y = infer(b.in).shape;
    const int64_t from = begin[static_cast<size_t>(at->axis)];
    return from_whole_batches(*at, b.size, {from, y[at->axis]}, y);
  }
  int64_t offset(const Shape& x) const {
    int64_t at = 0;
    for (int i = 0; i < x.rank(); ++i) at += begin[static_cast<size_t>(i)] * stride_of(x, i);
    return at;
  }
  // A box that is whole inside its outermost cut lies in one piece.
  std::vector<int64_t> views(Specs in) const {
    const Shape &x = in[0].shape, y = infer(in).shape;
    int last = x.rank();  // the innermost axis that is cut
    while (last > 0 && y[last - 1] == x[last - 1]) --last;
    if (last > 0 && y.size(0, last - 1) != 1) return {};
    return {offset(x)};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    box_axes(out[0].shape(), in[0].shape(), out[0].shape())
        .run(in[0], out[0], run.team, offset(in[0].shape()));
  }
  Cotangents vjp(const Backward& b) const {
    std::vector<Padding> around;
    const Shape &x = b.in[0].shape(), &y = b.y().shape();
    for (int i = 0; i < x.rank(); ++i) {
      const int64_t before = begin[static_cast<size_t>(i)];
      around.push_back({before, x[i] - y[i] - before});
    }
    return {pad(b.dy(), around)};
  }
};

struct Pad {
  static constexpr std::string_view name = "pad";
  static constexpr bool attributes_are_shapes = true;
  std::vector<Padding> paddings;
  bool operator==(const Pad&) const = default;

  Spec infer(Specs in) const {
    Spec out = in[0];
    require(static_cast<int>(paddings.size()) == out.shape.rank(),
            std::to_string(paddings.size()) + " paddings for an array of " +
                std::to_string(out.shape.rank()) + " axes");
    for (int i = 0; i < out.shape.rank(); ++i) {
      const Padding& p = paddings[static_cast<size_t>(i)];
      require(p.before >= 0 && p.after >= 0, "a padding is negative");
      out.shape[i] += p.before + p.after;
    }
    return out;
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    const auto at = example_axis(b.in[0].shape, b.at[0], b.size);
    if (!at) return {};
    const Padding& p = paddings[static_cast<size_t>(at->axis)];
    return from_whole_batches(*at, b.size, {p.before, p.after}, infer(b.in).shape);
  }
  std::vector<int64_t> views(Specs) const {
    if (std::ranges::all_of(paddings, [](const Padding& p) { return p == Padding{}; })) return {0};
    return {};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Shape& y = out[0].shape();
    box_axes(y, y, y).zero(out[0], run.team);
    int64_t at = 0;
    for (int i = 0; i < y.rank(); ++i)
      at += paddings[static_cast<size_t>(i)].before * stride_of(y, i);
    box_axes(in[0].shape(), in[0].shape(), y).run(in[0], out[0], run.team, 0, at);
  }
  Cotangents vjp(const Backward& b) const {
    std::vector<int64_t> begin, size;
    for (int i = 0; i < b.y().shape().rank(); ++i) {
      begin.push_back(paddings[static_cast<size_t>(i)].before);
      size.push_back(b.in[0].shape()[i]);
    }
    return {slice(b.dy(), begin, size)};
  }
};

}  // namespace

Value slice(Operand x, std::vector<int64_t> begin, std::vector<int64_t> size, Where where) {
  return apply(Slice{std::move(begin), std::move(size)}, {std::move(x)}, where);
}

Value pad(Operand x, std::vector<Padding> paddings, Where where) {
  return apply(Pad{std::move(paddings)}, {std::move(x)}, where);
}

}  // namespace rein
