// Ops that pass their argument on: in another type, without its gradient, or with parts dropped.
#include <algorithm>

#include "compute/ops/examples.h"
#include "compute/ops/rules.h"
#include "rein/compute/graph.h"
#include "rein/kernels/elementwise.h"

namespace rein {
namespace {

struct Cast {
  static constexpr std::string_view name = "cast";
  DType dtype;

  bool operator==(const Cast&) const = default;
  Spec infer(Specs in) const { return {in[0].shape, dtype}; }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  std::vector<int64_t> views(Specs in) const {
    return in[0].dtype == dtype ? std::vector<int64_t>{0} : std::vector<int64_t>{};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_dtype(in[0].dtype(), [&](auto from) {
      visit_dtype(dtype, [&](auto to) {
        kernels::cast(run.team, in[0].as<decltype(from)>(), out[0].as<decltype(to)>(),
                      out[0].size());
      });
    });
  }
  Cotangents vjp(const Backward& b) const { return {cast(b.dy(), b.in[0].dtype())}; }
};

struct StopGradient {
  static constexpr std::string_view name = "stop_gradient";

  bool operator==(const StopGradient&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  std::vector<Examples> examples(const BatchQuery& b) const { return {b.at[0]}; }
  std::vector<int64_t> views(Specs) const { return {0}; }
  void forward(const Run&, Ins, Outs) const {}  // never called: the result is a view
  Cotangents vjp(const Backward&) const { return {Cotangent()}; }
};

// The second result is the mask: the backward must see the same draws, which belong to this node.
struct Dropout {
  static constexpr std::string_view name = "dropout";
  double rate;

  bool operator==(const Dropout&) const = default;
  std::vector<Spec> infer(Specs in) const {
    require_floating(in[0]);
    require(rate >= 0 && rate < 1, "the rate must be at least 0 and less than 1");
    return {in[0], in[0]};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::dropout(run.team, rate, run.random, in[0].as<T>(), out[0].as<T>(), out[1].as<T>(),
                       in[0].size());
    });
  }
  Cotangents vjp(const Backward& b) const {
    if (!b.dout[0]) return {Cotangent()};  // only the mask was used, which does not depend on x
    return {b.dy() * b.out[1]};
  }
};

}  // namespace

Value cast(Operand x, DType dtype, Where where) { return apply(Cast{dtype}, {x}, where); }

Value stop_gradient(Operand x, Where where) { return apply(StopGradient{}, {x}, where); }

Value dropout(Operand x, double rate, Where where) { return apply(Dropout{rate}, {x}, where); }

Value ones(const Spec& spec, Graph& graph) {
  Tensor tensor(spec);
  visit_dtype(spec.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::ranges::fill(tensor.flat<T>(), T{1});
  });
  return graph.constant(std::move(tensor));
}

}  // namespace rein
