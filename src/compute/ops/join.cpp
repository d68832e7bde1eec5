// Arrays put together along an axis, and cut again.
#include <algorithm>

#include "compute/ops/examples.h"
#include "rein/compute/graph.h"
#include "rules.h"
#include "strided.h"

namespace rein {
namespace {

// The shape of arrays put together along `axis`, which is counted from 0.
Shape join(Specs in, int axis) {
  Shape shape = in[0].shape;
  shape[axis] = 0;
  for (const Spec& s : in) {
    require_same_dtype(in[0], s);
    require(s.shape.rank() == shape.rank(), "the ranks differ");
    for (int i = 0; i < shape.rank(); ++i)
      require(i == axis || s.shape[i] == shape[i],
              "shapes differ along another axis than " + std::to_string(axis));
    shape[axis] += s.shape[axis];
  }
  return shape;
}

// Along such an axis pieces lie in memory one after the other.
bool outermost(const Shape& shape, int axis) { return shape.size(0, axis) == 1; }

// Of values put together along `axis`: along another one, or whole batches behind one another.
std::vector<Examples> examples_of_joined(const BatchQuery& b, int axis, const Shape& joined,
                                         std::span<const int64_t> starts = {}) {
  const std::optional<ExampleAxis> all = common_axis(b);
  if (!all) return {};
  if (all->axis == axis) {
    const int64_t whole = all->inner * b.size;
    for (size_t i = 0; i < b.in.size(); ++i)
      if (b.in[i].shape[axis] % whole != 0 || (!starts.empty() && starts[i] % whole != 0))
        return {};
    if (joined[axis] % whole != 0) return {};
  }
  return {along(joined, *all)};
}

// Puts each argument at its start along the axis, zeros into what is left open.
struct Concat {
  static constexpr std::string_view name = "concat";
  static constexpr bool attributes_are_shapes = true;
  int axis = 0;
  std::vector<int64_t> starts;  // empty: nothing is left open
  int64_t total = 0;
  bool operator==(const Concat&) const = default;

  Spec infer(Specs in) const {
    const int a = resolve_axis(axis, in[0].shape.rank());
    Shape shape = join(in, a);
    if (!starts.empty()) shape[a] = total;
    return {shape, in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    const Shape y = infer(b.in).shape;
    return examples_of_joined(b, resolve_axis(axis, y.rank()), y, starts);
  }

  // The whole axis as [begin, end) of arguments (their number) and open places (-1).
  struct Part {
    int argument;
    int64_t begin, end;
  };
  static const Shape& shape_of(const In& x) { return x.shape(); }
  static const Shape& shape_of(const Value& x) { return x.shape(); }
  template <class X, class F>
  void for_each_part(std::span<const X> in, int a, int64_t whole, const F& f) const {
    int64_t at = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      const int64_t begin = starts.empty() ? at : starts[i];
      if (begin > at) f(Part{-1, at, begin});
      at = begin + shape_of(in[i])[a];
      f(Part{static_cast<int>(i), begin, at});
    }
    if (at < whole) f(Part{-1, at, whole});
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const Shape& y = out[0].shape();
    const int a = resolve_axis(axis, y.rank());
    const int64_t outer = y.size(0, a), inner = stride_of(y, a);
    for_each_part(in, a, y[a], [&](const Part& p) {
      const int64_t n = (p.end - p.begin) * inner;
      CopyAxes copy;
      copy.push({outer, n, y[a] * inner});
      copy.push({n, 1, 1});
      if (p.argument >= 0)
        copy.run(in[static_cast<size_t>(p.argument)], out[0], run.team, 0, p.begin * inner);
      else
        copy.zero(out[0], run.team, p.begin * inner);
    });
  }

  Cotangents vjp(const Backward& b) const {
    const int a = resolve_axis(axis, b.y().shape().rank());
    std::vector<int> arguments;
    std::vector<int64_t> sizes;
    for_each_part(b.in, a, b.y().shape()[a], [&](const Part& p) {
      arguments.push_back(p.argument);
      sizes.push_back(p.end - p.begin);
    });
    const Values pieces = split(b.dy(), sizes, {.axis = a});
    Cotangents d(b.in.size());
    for (size_t i = 0; i < pieces.size(); ++i)
      if (arguments[i] >= 0) d[static_cast<size_t>(arguments[i])] = pieces[i];
    return d;
  }
};

struct Split {
  static constexpr std::string_view name = "split";
  static constexpr bool attributes_are_shapes = true;
  int axis = 0;
  int64_t pieces = 0;          // equal ones, or
  std::vector<int64_t> sizes;  // pieces of these sizes
  bool operator==(const Split&) const = default;

  std::vector<int64_t> sizes_of(const Shape& x, int a) const {
    if (!sizes.empty()) {
      int64_t sum = 0;
      for (int64_t size : sizes) {
        require(size >= 0 && size <= x[a] - sum,
                "the sizes do not add up to " + std::to_string(x[a]));
        sum += size;
      }
      require(sum == x[a], "the sizes do not add up to " + std::to_string(x[a]));
      return sizes;
    }
    require(pieces > 0 && x[a] % pieces == 0, "axis " + std::to_string(a) + " of size " +
                                                  std::to_string(x[a]) + " does not divide into " +
                                                  std::to_string(pieces) + " pieces");
    return std::vector<int64_t>(static_cast<size_t>(pieces), x[a] / pieces);
  }
  std::vector<Spec> infer(Specs in) const {
    const int a = resolve_axis(axis, in[0].shape.rank());
    std::vector<Spec> out;
    for (int64_t size : sizes_of(in[0].shape, a)) {
      out.push_back(in[0]);
      out.back().shape[a] = size;
    }
    return out;
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    const Shape& x = b.in[0].shape;
    const int a = resolve_axis(axis, x.rank());
    const auto at = example_axis(x, b.at[0], b.size);
    if (!at) return {};
    std::vector<Examples> of;
    for (const Spec& piece : infer(b.in)) {
      if (at->axis == a && piece.shape[a] % (at->inner * b.size) != 0) return {};
      of.push_back(along(piece.shape, *at));
    }
    return of;
  }
  std::vector<int64_t> views(Specs in) const {
    const Shape& x = in[0].shape;
    const int a = resolve_axis(axis, x.rank());
    std::vector<int64_t> offsets;
    if (!outermost(x, a)) return offsets;
    int64_t at = 0;
    for (int64_t size : sizes_of(x, a)) {
      offsets.push_back(at);
      at += size * stride_of(x, a);
    }
    return offsets;
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Shape& x = in[0].shape();
    const int a = resolve_axis(axis, x.rank());
    const int64_t inner = stride_of(x, a);
    int64_t at = 0;
    for (const Out& y : out) {
      const int64_t n = y.shape()[a] * inner;
      CopyAxes copy;
      copy.push({x.size(0, a), x[a] * inner, n});
      copy.push({n, 1, 1});
      copy.run(in[0], y, run.team, at);
      at += n;
    }
  }
  Cotangents vjp(const Backward& b) const {
    const Shape& x = b.in[0].shape();
    Concat back{.axis = resolve_axis(axis, x.rank()), .starts = {}, .total = 0};
    back.total = x[back.axis];
    Values given;
    int64_t at = 0;
    for (size_t i = 0; i < b.out.size(); ++i) {
      if (b.dout[i]) {
        given.push_back(*b.dout[i]);
        back.starts.push_back(at);
      }
      at += b.out[i].shape()[back.axis];
    }
    if (given.size() == b.out.size()) return {concat(given, {.axis = back.axis})};
    const std::vector<Operand> operands(given.begin(), given.end());
    return {apply_all(back, operands, Where::here())[0]};
  }
};

// Pieces of one split put together again: a view of what was split, argument 0. The pieces follow,
// so that gradients reach whoever holds one of them.
struct Rejoin {
  static constexpr std::string_view name = "rejoin";
  static constexpr bool attributes_are_shapes = true;
  int axis = 0;
  int64_t offset = 0;
  bool operator==(const Rejoin&) const = default;

  Spec infer(Specs in) const { return {join(in.subspan(1), axis), in[0].dtype}; }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_joined({b.in.subspan(1), b.at.subspan(1), b.size}, axis, infer(b.in).shape);
  }
  std::vector<int64_t> views(Specs) const { return {offset}; }
  void forward(const Run&, Ins, Outs) const {}  // a view
  Cotangents vjp(const Backward& b) const {
    std::vector<int64_t> sizes;
    for (const Value& piece : b.in.subspan(1)) sizes.push_back(piece.shape()[axis]);
    Cotangents d(1);
    for (const Value& piece : split(b.dy(), sizes, {.axis = axis})) d.emplace_back(piece);
    return d;
  }
};

// The value that `v` shows under another shape.
Value behind_reshapes(Value v) {
  for (;;) {
    const Graph::Node& node = v.graph().node(v);
    if (!node.op || node.op->name != "reshape") return v;
    v = node.in[0];
  }
}

// The concatenation of `values` without copying, if they are neighbours of one split.
std::optional<Value> rejoin(std::span<const Value> values, int axis, Where where) {
  const Value first = behind_reshapes(values[0]);
  const Graph::Node& node = first.graph().node(first);
  if (!node.op || node.op->name != "split") return std::nullopt;
  bool same = true;  // as they were cut
  for (size_t i = 0; i < values.size(); ++i) {
    const Value piece = behind_reshapes(values[i]);
    if (piece != Value(&first.graph(), first.node(), first.output() + i)) return std::nullopt;
    same = same && piece.shape() == values[i].shape();
  }
  const Value whole = node.in[0];
  const auto& cut = *static_cast<const Split*>(node.attributes.get());
  const int cut_axis = resolve_axis(cut.axis, whole.shape().rank());
  int64_t offset = 0;
  if (outermost(whole.shape(), cut_axis) && outermost(values[0].shape(), axis)) {
    for (size_t i = 0; i < first.output(); ++i) offset += node.out[i].size();
  } else if (!same || axis != cut_axis || values.size() != node.out.size()) {
    return std::nullopt;
  }
  std::vector<Operand> operands{whole};
  operands.insert(operands.end(), values.begin(), values.end());
  return apply_all(Rejoin{axis, offset}, operands, where)[0];
}

}  // namespace

Value concat(std::span<const Value> values, Axis axis, Where where) {
  if (values.empty()) throw InvalidArgument("concat", "the list is empty", where);
  const std::vector<Operand> operands(values.begin(), values.end());
  Operand::resolve("concat", operands, where);  // all of one graph
  const int a = apply_rule("concat", values, where, [&] {
    std::vector<Spec> specs;
    for (const Value& v : values) specs.push_back(v.spec());
    const int resolved = resolve_axis(axis.axis, values[0].shape().rank());
    join(specs, resolved);
    return resolved;
  });
  if (values.size() == 1) return values[0];
  if (const auto whole = rejoin(values, a, where)) return *whole;
  return apply_all(Concat{.axis = a, .starts = {}, .total = 0}, operands, where)[0];
}

Values split(Operand x, int64_t pieces, Axis axis, Where where) {
  return apply_all(Split{axis.axis, pieces, {}}, {&x, 1}, where);
}

Values split(Operand x, std::vector<int64_t> sizes, Axis axis, Where where) {
  if (sizes.empty()) throw InvalidArgument("split", "the list of sizes is empty", where);
  return apply_all(Split{axis.axis, 0, std::move(sizes)}, {&x, 1}, where);
}

Value stack(std::span<const Value> values, Axis axis, Where where) {
  if (values.empty()) throw InvalidArgument("stack", "the list is empty", where);
  Operand::resolve("stack", std::vector<Operand>(values.begin(), values.end()), where);
  const Shape& shape = values[0].shape();
  const int a = apply_rule("stack", values, where, [&] {
    for (const Value& v : values) {
      require_same_dtype(values[0].spec(), v.spec());
      require(v.shape() == shape, "shapes differ");
    }
    require(shape.rank() < Shape::kMaxRank,
            "more than " + std::to_string(Shape::kMaxRank) + " axes");
    return resolve_axis(axis.axis, shape.rank() + 1);
  });
  Shape with_axis;
  for (int i = 0; i <= shape.rank(); ++i)
    with_axis.push_back(i < a ? shape[i] : i == a ? 1 : shape[i - 1]);
  Values slabs;
  for (const Value& v : values) slabs.push_back(reshape(v, with_axis, where));
  return concat(slabs, {.axis = a}, where);
}

Values unstack(Operand x, Axis axis, Where where) {
  const Value whole = Operand::resolve("unstack", {&x, 1}, where)[0];
  const int a = apply_rule("unstack", {&whole, 1}, where, [&] {
    const int resolved = resolve_axis(axis.axis, whole.shape().rank());
    require(whole.shape()[resolved] > 0, "no elements along axis " + std::to_string(resolved));
    return resolved;
  });
  Shape without;
  for (int i = 0; i < whole.shape().rank(); ++i)
    if (i != a) without.push_back(whole.shape()[i]);
  Values pieces;
  for (const Value& piece : split(whole, whole.shape()[a], {.axis = a}, where))
    pieces.push_back(reshape(piece, without, where));
  return pieces;
}

}  // namespace rein
