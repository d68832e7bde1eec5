// Rows picked and added by index. All three work on int64; the functions below cast.
#include "rein/kernels/rows.h"

#include <algorithm>

#include "compute/ops/examples.h"
#include "rein/compute/graph.h"
#include "rules.h"

namespace rein {
namespace {

// Of an array of rows without its first axis.
int64_t width_of(const Shape& shape) { return shape.size(1, shape.rank()); }

// indices... and then the axes of one row
Shape picked(const Shape& indices, const Shape& rows) {
  Shape shape = indices;
  for (int i = 1; i < rows.rank(); ++i) shape.push_back(rows[i]);
  return shape;
}

struct Gather {
  static constexpr std::string_view name = "gather";
  bool operator==(const Gather&) const = default;

  Spec infer(Specs in) const {
    require_integer(in[1]);
    require(in[0].shape.rank() > 0, "a scalar has no rows");
    return {picked(in[1].shape, in[0].shape), in[0].dtype};
  }
  // Along the axes of the indices, or those of a row.
  std::vector<Examples> examples(const BatchQuery& b) const {
    using enum Examples::Kind;
    const Shape y = infer(b.in).shape;
    if (const auto at = example_axis(b.in[1].shape, b.at[1], b.size); at && b.at[0].kind == none)
      return {along(y, *at)};
    if (const auto at = example_axis(b.in[0].shape, b.at[0], b.size);
        at && at->axis > 0 && b.at[1].kind == none)
      return {along(y, {at->axis - 1 + b.in[1].shape.rank(), at->inner})};
    return {};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_dtype(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::gather_rows(in[0].as<T>(), in[0].shape()[0], in[1].as<int64_t>(), in[1].size(),
                           width_of(in[0].shape()), out[0].as<T>(), run.team);
    });
  }
  Cotangents vjp(const Backward& b) const {
    const Shape& params = b.in[0].shape();
    const int64_t n = b.in[1].spec().size();
    return {Rows{reshape(b.in[1], {n}), reshape(b.dy(), picked({n}, params)), params}, Cotangent()};
  }
};

struct ScatterRows {
  static constexpr std::string_view name = "scatter_rows";
  static constexpr bool attributes_are_shapes = true;
  Shape shape;
  bool operator==(const ScatterRows&) const = default;

  Spec infer(Specs in) const {
    require_integer(in[0]);
    require_floating(in[1]);
    require(shape.rank() > 0, "a scalar has no rows");
    const Shape wanted = picked(in[0].shape, shape);
    require(in[1].shape == wanted,
            "rows of " + to_string(shape) + " at these indices are " + to_string(wanted));
    return {shape, in[1].dtype};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_float(in[1].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::scatter_add_rows(in[1].as<T>(), in[0].as<int64_t>(), in[0].size(), width_of(shape),
                                out[0].as<T>(), shape[0], run.team);
    });
  }
  Cotangents vjp(const Backward& b) const { return {Cotangent(), gather(b.dy(), b.in[0])}; }
};

struct OneHot {
  static constexpr std::string_view name = "one_hot";
  static constexpr std::string_view no_gradient = "indices are integers";
  int64_t depth = 0;
  DType dtype = DType::float32;
  bool operator==(const OneHot&) const = default;

  Spec infer(Specs in) const {
    require_integer(in[0]);
    require(depth > 0, "depth is " + std::to_string(depth));
    Shape shape = in[0].shape;
    shape.push_back(depth);
    return {shape, dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_rows(b, b.in[0].shape.rank(), infer(b.in).shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_dtype(dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::one_hot(in[0].as<int64_t>(), in[0].size(), depth, out[0].as<T>(), run.team);
    });
  }
};

Value to_int64(Value indices, Where where) {
  return indices.dtype() == DType::int32 ? cast(indices, DType::int64, where) : indices;
}

void check_indices(const Value& indices, const Shape& params, Where where) {
  const Tensor t = indices.tensor(where);
  for (int64_t index : t.flat<int64_t>())
    if (index < 0 || index >= params[0])
      throw InvalidArgument(
          "gather", "index " + std::to_string(index) + " is not a row of " + to_string(params),
          where);
}

}  // namespace

Value gather(Operand params, Operand indices, Where where) {
  const Operand operands[] = {std::move(params), std::move(indices)};
  Values in = Operand::resolve("gather", operands, where);
  in[1] = to_int64(in[1], where);
  if (in[0].graph().eager() && in[1].dtype() == DType::int64 && in[0].shape().rank() > 0)
    check_indices(in[1], in[0].shape(), where);
  return apply(Gather{}, {in[0], in[1]}, where);
}

Value scatter_rows(Operand indices, Operand values, Shape shape, Where where) {
  const Operand operands[] = {std::move(indices), std::move(values)};
  const Values in = Operand::resolve("scatter_rows", operands, where);
  return apply(ScatterRows{shape}, {to_int64(in[0], where), in[1]}, where);
}

Value one_hot(Operand indices, int64_t depth, DType dtype, Where where) {
  const Value in = Operand::resolve("one_hot", {&indices, 1}, where)[0];
  return apply(OneHot{depth, dtype}, {to_int64(in, where)}, where);
}

}  // namespace rein
