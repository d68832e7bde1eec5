#include "compute/ops/examples.h"
#include "rein/compute/graph.h"
#include "rein/kernels/gemm.h"
#include "rein/kernels/narrow.h"
#include "rules.h"

namespace rein {
namespace {

using kernels::Trans;

Trans trans(bool transposed) { return transposed ? Trans::yes : Trans::no; }

struct MatMul {
  bool transpose_a = false, transpose_b = false;
  ProductOptions products{};

  static constexpr std::string_view name = "matmul";
  bool operator==(const MatMul&) const = default;

  struct Sizes {
    int64_t m = 0, n = 0, k = 0;
  };
  Sizes sizes(const Shape& a, const Shape& b) const {
    return {a[transpose_a ? 1 : 0], b[transpose_b ? 0 : 1], a[transpose_a ? 0 : 1]};
  }

  Spec infer(Specs in) const {
    const Shape &a = in[0].shape, &b = in[1].shape;
    require_floating(in[0]);
    require_same_dtype(in[0], in[1]);
    require(a.rank() == 2 && b.rank() == 2, "needs two matrices; use reshape");
    const Sizes s = sizes(a, b);
    require(s.k == b[transpose_b ? 1 : 0], "inner sizes differ" + transposed());
    return {Shape{s.m, s.n}, in[0].dtype};
  }

  bool narrow(DType type) const { return products.narrow() && type == DType::float32; }

  size_t scratch(Specs in) const {
    const Sizes s = sizes(in[0].shape, in[1].shape);
    if (narrow(in[0].dtype)) return kernels::narrow::gemm_scratch_bytes(products, s.m, s.n, s.k);
    return visit_float(in[0].dtype, [&](auto zero) {
      return kernels::gemm_scratch_bytes<decltype(zero)>(trans(transpose_b), s.m, s.n, s.k);
    });
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const Sizes s = sizes(in[0].shape(), in[1].shape());
    if (narrow(in[0].dtype()))
      return kernels::narrow::gemm(run.team, products, trans(transpose_a), trans(transpose_b), s.m,
                                   s.n, s.k, in[0].as<float>(), in[0].shape()[1], in[1].as<float>(),
                                   in[1].shape()[1], out[0].as<float>(), s.n, run.scratch);
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::gemm<T>(run.team, trans(transpose_a), trans(transpose_b), s.m, s.n, s.k,
                       in[0].as<T>(), in[0].shape()[1], in[1].as<T>(), in[1].shape()[1], T{0},
                       out[0].as<T>(), s.n, run.scratch);
    });
  }

  // Rows of a or columns of b are examples, or both are summed over them.
  std::vector<Examples> examples(const BatchQuery& b) const {
    using enum Examples::Kind;
    const int a_rows = transpose_a ? 1 : 0, b_columns = transpose_b ? 0 : 1;
    const auto in_a = example_axis(b.in[0].shape, b.at[0], b.size);
    const auto in_b = example_axis(b.in[1].shape, b.at[1], b.size);
    const Shape y = infer(b.in).shape;
    if (in_a && in_a->axis == a_rows && b.at[1].kind == none) return {along(y, {0, in_a->inner})};
    if (in_b && in_b->axis == b_columns && b.at[0].kind == none)
      return {along(y, {1, in_b->inner})};
    if (in_a && in_b && in_a->axis != a_rows && in_b->axis != b_columns &&
        in_a->inner == in_b->inner)
      return {{sum}};
    return {};
  }

  // y = a b: da = dy b', db = a' dy; a transposed factor gets the transpose of that.
  Cotangents vjp(const Backward& r) const {
    const Value &a = r.in[0], &b = r.in[1], &dy = r.dy();
    Value da = transpose_a ? product(b, transpose_b, dy, true, for_gradient_of(a))
                           : product(dy, false, b, !transpose_b, for_gradient_of(a));
    Value db = transpose_b ? product(dy, true, a, transpose_a, for_gradient_of(b))
                           : product(a, !transpose_a, dy, false, for_gradient_of(b));
    return {da, db};
  }

 private:
  // Numbers of dy that are nearly alike, as the probabilities of a softmax, would all be rounded
  // one way in bf16: each row of a gradient that is handed on would be off alike, and sums over
  // rows keep what is common to them. That of a variable goes no further.
  ProductOptions for_gradient_of(const Value& factor) const {
    ProductOptions finer = products;
    const bool handed_on = !factor.graph().nodes()[factor.node()].variable;
    if (finer.precision == Precision::bf16 && handed_on) finer.precision = Precision::bf16x3;
    return finer;
  }
  static Value product(const Value& a, bool transpose_a, const Value& b, bool transpose_b,
                       const ProductOptions& products) {
    return add_node(MatMul{transpose_a, transpose_b, products}, {a, b}, Where::here())[0];
  }
  std::string transposed() const {
    if (transpose_a && transpose_b) return " (both transposed)";
    return transpose_a ? " (a transposed)" : transpose_b ? " (b transposed)" : "";
  }
};

}  // namespace

Value matmul(Operand a, Operand b, MatMulOptions options, Where where) {
  const Operand operands[] = {std::move(a), std::move(b)};
  Values in = Operand::resolve(MatMul::name, operands, where);
  const ProductOptions products = in[0].graph().products();
  return add_node(MatMul{options.transpose_a, options.transpose_b, products}, std::move(in),
                  where)[0];
}

}  // namespace rein
