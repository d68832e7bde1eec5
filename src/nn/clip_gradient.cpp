// Values that are passed on as they are, while their gradients are clipped or led elsewhere.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "rein/compute/op.h"
#include "rein/nn/clip.h"

namespace rein {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct ClipGradientByValue {
  static constexpr std::string_view name = "clip_gradient_by_value";
  double limit = kInfinity;

  bool operator==(const ClipGradientByValue&) const = default;
  Spec infer(Specs in) const {
    require(is_floating(in[0].dtype), "only floating numbers have gradients");
    require(limit >= 0, "the limit must be 0 or more (infinity: no clipping)");
    return in[0];
  }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  std::vector<int64_t> views(Specs) const { return {0}; }
  void forward(const Run&, Ins, Outs) const {}  // never called: the result is a view
  Cotangents vjp(const Backward& b) const {
    return {clip_by_value(b.dy(), -limit, limit, Where::here())};
  }
};

struct ClipGradientByRowNorm {
  static constexpr std::string_view name = "clip_gradient_by_row_norm";
  double limit = kInfinity;

  bool operator==(const ClipGradientByRowNorm&) const = default;
  std::vector<Spec> infer(Specs in) const {
    require(is_floating(in[0].dtype), "only floating numbers have gradients");
    require(limit >= 0, "the limit must be 0 or more (infinity: no clipping)");
    for (const Spec& s : in) {
      require(s.shape.rank() > 0, "there are no rows");
      require(s.dtype == in[0].dtype, "dtypes differ");
      require(s.shape[0] == in[0].shape[0], "the numbers of rows differ");
    }
    return {in.begin(), in.end()};
  }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at.begin(), b.at.end()}; }
  void forward(const Run&, Ins in, Outs out) const {
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i].size() > 0) std::memcpy(out[i].data, in[i].data, in[i].spec->bytes());
  }

  Cotangents vjp(const Backward& b) const {
    std::optional<Value> squares;  // of each row, [B]
    for (const auto& d : b.dout) {
      if (!d) continue;
      std::vector<int> axes(static_cast<size_t>(d->shape().rank() - 1));
      std::iota(axes.begin(), axes.end(), 1);
      Value sum = square(cast(*d, DType::float64));
      if (!axes.empty()) sum = reduce_sum(sum, {.axes = std::move(axes)});
      squares = squares ? *squares + sum : sum;
    }
    const Value longer = greater(*squares, limit * limit);
    const Value clipped = where(longer, greater(kInfinity, *squares), 0.0);
    // Rows that stay have a root whose derivative is finite, and which is thrown away.
    const Value scale = where(clipped, limit / sqrt(where(clipped, *squares, 1.0)), 1.0);
    Cotangents result;
    for (const auto& d : b.dout) {
      if (!d) {
        result.emplace_back();
        continue;
      }
      Shape column = d->shape();
      for (int axis = 1; axis < column.rank(); ++axis) column[axis] = 1;
      result.emplace_back(*d * reshape(cast(scale, d->dtype()), column));
    }
    return result;
  }
};

// The numbers of the first argument with the gradient of the second.
struct StraightThrough {
  static constexpr std::string_view name = "straight_through";

  bool operator==(const StraightThrough&) const = default;
  Spec infer(Specs in) const {
    require(is_floating(in[0].dtype), "only floating numbers have gradients");
    require(in[0] == in[1], "both must have one shape and dtype");
    return in[0];
  }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  std::vector<int64_t> views(Specs) const { return {0}; }
  void forward(const Run&, Ins, Outs) const {}  // never called: the result is a view
  Cotangents vjp(const Backward& b) const { return {Cotangent(), b.dy()}; }
};

}  // namespace

Value clip_gradient_by_value(Value x, double limit, Where where) {
  return apply(ClipGradientByValue{limit}, {x}, where);
}

Values clip_gradient_by_row_norm(std::span<const Value> values, double limit, Where where) {
  if (values.empty())
    throw InvalidArgument("clip_gradient_by_row_norm", "there are no values", where);
  const std::vector<Operand> operands(values.begin(), values.end());
  return apply_all(ClipGradientByRowNorm{limit}, operands, where);
}

Value straight_through(Value y, Value x, Where where) {
  return apply(StraightThrough{}, {y, x}, where);
}

}  // namespace rein
