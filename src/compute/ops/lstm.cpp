#include "rein/kernels/lstm.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "compute/ops/example_sums.h"
#include "compute/ops/examples.h"
#include "rein/compute/graph.h"
#include "rein/kernels/narrow.h"
#include "rules.h"

namespace rein {
namespace {

// Spec, by spec, of the results of the forward op: outputs, h, c, and for its backward gates,
// cells.
constexpr size_t kOutputs = 0, kH = 1, kC = 2, kGates = 3, kCells = 4;

kernels::LstmSizes sizes_of(const Shape& x, const Shape& h) {
  return {.steps = x[0], .batch = x[1], .inputs = x[2], .units = h[1]};
}

// How the products of float32 are computed; those of float64 are what they are.
ProductOptions products_for(DType type, const ProductOptions& products) {
  return type == DType::float32 ? products : ProductOptions{};
}

kernels::LstmMemory memory_of(DType type, const ProductOptions& products,
                              const kernels::LstmSizes& sizes) {
  if (products_for(type, products).narrow()) return kernels::narrow::lstm_memory(products, sizes);
  return visit_float(type, [&](auto zero) { return kernels::lstm_memory<decltype(zero)>(sizes); });
}

// The first number that is not finite among those of all gates: the earliest step, or the latest.
template <class T, class PlaceOf>
std::optional<SequencePlace> locate_gate(const kernels::LstmSizes& s, const T* gates, int64_t n,
                                         bool earliest, const PlaceOf& place_of) {
  std::optional<kernels::LstmPlace> first;
  for (int64_t i = 0; i < n; ++i) {
    if (std::isfinite(gates[i])) continue;
    const kernels::LstmPlace place = place_of(s, i);
    if (place.unit >= s.units) continue;
    if (!first || (earliest ? place.step < first->step : place.step > first->step)) first = place;
  }
  if (!first) return std::nullopt;
  constexpr const char* kNames[] = {"i", "j", "f", "o"};
  return SequencePlace{
      .gate = kNames[first->gate], .step = first->step, .example = first->row, .unit = first->unit};
}

// Whether the rows of sequences [steps, batch, ...] and states [batch, ...] are examples, the same
// whatever they are, or in an order of these ops; and the kernel is of none.
bool rows_are_examples(const BatchQuery& b, size_t kernel) {
  for (size_t i = 0; i < b.in.size(); ++i) {
    if (b.at[i].kind == Examples::Kind::none || b.at[i].kind == Examples::Kind::hidden) continue;
    const auto found = example_axis(b.in[i].shape, b.at[i], b.size);
    if (i == kernel || found != ExampleAxis{b.in[i].shape.rank() - 2, 1}) return false;
  }
  return b.at[kernel].kind == Examples::Kind::none;
}

struct LstmRows {  // gates, x, h
  ProductOptions products{};
  static constexpr std::string_view name = "lstm_rows";
  static constexpr std::string_view no_gradient = "it is part of a fused backward";
  bool operator==(const LstmRows&) const = default;

  Spec infer(Specs in) const {
    const Shape &x = in[1].shape, &h = in[2].shape;
    require(x.rank() == 3 && h.rank() == 2 && h[0] == x[1] && is_floating(in[0].dtype) &&
                in[0].shape == Shape{memory_of(in[0].dtype, products, sizes_of(x, h)).gates},
            "needs the gates of x [steps, batch, inputs] and h [batch, units]");
    return {Shape{x[0], x[1], 4 * h[1]}, in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return {along(infer(b.in).shape, {1, 1})};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    if (products_for(in[0].dtype(), products).narrow())
      return kernels::narrow::lstm_rows(products, sizes_of(in[1].shape(), in[2].shape()),
                                        in[0].as<float>(), out[0].as<float>());
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::lstm_rows(run.team, sizes_of(in[1].shape(), in[2].shape()), in[0].as<T>(),
                         out[0].as<T>());
    });
  }
};

// The backward pass as one op. Its fields say which results of the forward op the loss uses, and
// which gradients are asked for. Arguments: x, kernel, h, c, outputs, gates, cells, and what comes
// from above; results: dz, which may take the place of the gates, then in the order of the fields.
struct LstmGrad {
  bool from_outputs = false, from_h = false, from_c = false;
  bool to_x = false, to_weights = false, to_state = false;
  double cell_clip = kernels::kNoLimit<double>;
  StepClip step_clip{};
  ProductOptions products{};

  static constexpr std::string_view name = "lstm_grad";
  static constexpr std::string_view no_gradient =
      "the fused backward has no second derivative; build the steps of the LSTM from matmul, "
      "sigmoid and tanh";
  bool operator==(const LstmGrad&) const = default;

  std::vector<Spec> infer(Specs in) const {
    const Spec &x = in[0], &kernel = in[1], &state = in[2];
    std::vector<Spec> out{in[5]};
    if (to_x) out.push_back(x);
    if (to_weights) out.insert(out.end(), {kernel, {Shape{kernel.shape[1]}, kernel.dtype}});
    if (to_state) out.insert(out.end(), {state, state});
    return out;
  }

  std::vector<Examples> examples(const BatchQuery& b) const {
    if (to_weights || !rows_are_examples(b, 1)) return {};
    const std::vector<Spec> all = infer(b.in);
    std::vector<Examples> of{{Examples::Kind::hidden}};
    for (size_t i = 1; i < all.size(); ++i)
      of.push_back(along(all[i].shape, {all[i].shape.rank() - 2, 1}));
    return of;
  }

  size_t scratch(Specs in) const {
    return memory_of(in[0].dtype, products, sizes_of(in[0].shape, in[2].shape)).backward_scratch;
  }

  bool may_overwrite(size_t argument) const { return argument == 5; }

  template <class T>
  kernels::LstmBackward<T> arrays(Ins in, Outs out) const {
    kernels::LstmBackward<T> a{.x = in[0].as<T>(),
                               .kernel = in[1].as<T>(),
                               .h0 = in[2].as<T>(),
                               .c0 = in[3].as<T>(),
                               .outputs = in[4].as<T>(),
                               .gates = in[5].as<T>(),
                               .cells = in[6].as<T>(),
                               .dz = out[0].as<T>(),
                               .cell_clip = static_cast<T>(cell_clip),
                               .gate_clip = static_cast<T>(step_clip.gates),
                               .state_clip = static_cast<T>(step_clip.state)};
    size_t next = 7;
    if (from_outputs) a.d_outputs = in[next++].as<T>();
    if (from_h) a.d_h = in[next++].as<T>();
    if (from_c) a.d_c = in[next++].as<T>();
    next = 1;
    if (to_x) a.dx = out[next++].as<T>();
    if (to_weights) {
      a.dkernel = out[next++].as<T>();
      a.dbias = out[next++].as<T>();
    }
    if (to_state) {
      a.dh0 = out[next++].as<T>();
      a.dc0 = out[next++].as<T>();
    }
    return a;
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const auto sizes = sizes_of(in[0].shape(), in[2].shape());
    if (products_for(in[0].dtype(), products).narrow())
      return kernels::narrow::lstm_backward(run.team, products, sizes, arrays<float>(in, out),
                                            run.scratch);
    visit_float(in[0].dtype(), [&](auto zero) {
      kernels::lstm_backward(run.team, sizes, arrays<decltype(zero)>(in, out), run.scratch);
    });
  }

  std::optional<SequencePlace> locate(Ins in, Outs out) const {
    const auto sizes = sizes_of(in[0].shape(), in[2].shape());
    if (products_for(in[0].dtype(), products).narrow()) {
      std::vector<float> rows(static_cast<size_t>(sizes.steps * sizes.batch * 4 * sizes.units));
      kernels::narrow::lstm_rows(products, sizes, out[0].as<float>(), rows.data());
      return locate_gate(sizes, rows.data(), static_cast<int64_t>(rows.size()), false,
                         kernels::lstm_place<double>);  // of rows
    }
    return visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      return locate_gate(sizes, out[0].as<T>(), out[0].size(), false, kernels::lstm_place<T>);
    });
  }
};

struct LstmOp {
  Lstm options;
  ProductOptions products{};

  static constexpr std::string_view name = "lstm";
  bool operator==(const LstmOp&) const = default;

  std::vector<Spec> infer(Specs in) const {
    const Shape &x = in[0].shape, &kernel = in[1].shape, &bias = in[2].shape, &h = in[3].shape;
    require_floating(in[0]);
    for (const Spec& s : in) require_same_dtype(s, in[0]);
    require(x.rank() == 3, "x is [steps, batch, inputs]");
    require(x[0] > 0, "x has no steps");
    require(h.rank() == 2 && h == in[4].shape, "h and c are [batch, units], both alike");
    require(h[0] == x[1], "x and h differ in the batch");
    require(h[1] > 0, "h has no units");
    require(kernel == Shape{x[2] + h[1], 4 * h[1]}, "the kernel is [inputs + units, 4 units]");
    require(bias == Shape{4 * h[1]}, "the bias is [4 units]");
    require(options.cell_clip > 0, "cell_clip must be more than 0 (infinity: no clipping)");
    require(options.step_clip.gates >= 0 && options.step_clip.state >= 0,
            "step_clip must be 0 or more (infinity: no clipping)");
    const DType type = in[0].dtype;
    const Shape sequence{x[0], x[1], h[1]};
    const auto memory = memory_of(type, products, sizes_of(x, h));
    return {{sequence, type},
            {h, type},
            {h, type},
            {Shape{memory.gates}, type},
            {Shape{memory.cells}, type}};
  }

  std::vector<Examples> examples(const BatchQuery& b) const {
    if (b.at[2].kind != Examples::Kind::none || !rows_are_examples(b, 1)) return {};
    const auto all = infer(b.in);
    std::vector<Examples> of(all.size(), {Examples::Kind::hidden});
    of[kOutputs] = along(all[kOutputs].shape, {1, 1});
    of[kH] = of[kC] = along(all[kH].shape, {0, 1});
    return of;
  }

  size_t scratch(Specs in) const {
    return memory_of(in[0].dtype, products, sizes_of(in[0].shape, in[3].shape)).forward_scratch;
  }

  template <class T>
  kernels::LstmForward<T> arrays(Ins in, Outs out) const {
    return {.x = in[0].as<T>(),
            .kernel = in[1].as<T>(),
            .bias = in[2].as<T>(),
            .h0 = in[3].as<T>(),
            .c0 = in[4].as<T>(),
            .forget_bias = static_cast<T>(options.forget_bias),
            .cell_clip = static_cast<T>(options.cell_clip),
            .outputs = out[kOutputs].as<T>(),
            .c = out[kC].as<T>(),
            .gates = out[kGates].as<T>(),
            .cells = out[kCells].as<T>()};
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const auto sizes = sizes_of(in[0].shape(), in[3].shape());
    if (products_for(in[0].dtype(), products).narrow())
      kernels::narrow::lstm_forward(run.team, products, sizes, arrays<float>(in, out), run.scratch);
    else
      visit_float(in[0].dtype(), [&](auto zero) {
        kernels::lstm_forward(run.team, sizes, arrays<decltype(zero)>(in, out), run.scratch);
      });
    const size_t bytes = out[kH].spec->bytes();  // the last step of the sequence
    if (bytes > 0)
      std::memcpy(out[kH].data, out[kOutputs].as<std::byte>() + out[kOutputs].spec->bytes() - bytes,
                  bytes);
  }

  std::optional<SequencePlace> locate(Ins in, Outs out) const {
    const auto sizes = sizes_of(in[0].shape(), in[3].shape());
    if (products_for(in[0].dtype(), products).narrow())
      return locate_gate(sizes, out[kGates].as<float>(), out[kGates].size(), true,
                         kernels::narrow::lstm_place);
    return visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      return locate_gate(sizes, out[kGates].as<T>(), out[kGates].size(), true,
                         kernels::lstm_place<T>);
    });
  }

  Cotangents vjp(const Backward& r) const {
    const bool to_weights = r.needs(1) || r.needs(2);
    LstmGrad grad{.from_outputs = r.dout[kOutputs].has_value(),
                  .from_h = r.dout[kH].has_value(),
                  .from_c = r.dout[kC].has_value(),
                  .to_x = r.needs(0),
                  .to_weights = to_weights && !r.examples_apart,
                  .to_state = r.needs(3) || r.needs(4),
                  .cell_clip = options.cell_clip,
                  .step_clip = options.step_clip,
                  .products = products};
    if (options.cell_clip_gradient == CellClipGradient::straight_through)
      grad.cell_clip = kernels::kNoLimit<double>;
    std::vector<Operand> in{r.in[0],         r.in[1],       r.in[3],      r.in[4],
                            r.out[kOutputs], r.out[kGates], r.out[kCells]};
    for (size_t i : {kOutputs, kH, kC})
      if (r.dout[i]) in.push_back(*r.dout[i]);
    const Values d = apply_all(grad, in, Where::here());
    Cotangents result(5);
    size_t next = 1;
    if (grad.to_x) result[0] = d[next++];
    if (grad.to_weights) {
      result[1] = d[next++];
      result[2] = d[next++];
    }
    if (grad.to_state) {
      result[3] = d[next++];
      result[4] = d[next++];
    }
    if (to_weights && r.examples_apart) {
      const Value dz = apply(LstmRows{products}, {d[0], r.in[0], r.in[3]}, Where::here());
      const int64_t rows = dz.shape().size(0, 2);
      const Value seen = inputs_of_steps(r.in[0], r.in[3], r.out[kOutputs]);
      result[1] = matmul(reshape(seen, {rows, -1}), reshape(dz, {rows, -1}), {.transpose_a = true});
      result[2] = reduce_sum(dz, {.axes = {0, 1}});
    }
    return result;
  }

  // [x_t, h_{t-1}] of every step.
  static Value inputs_of_steps(Value x, Value h, Value outputs) {
    const int64_t steps = x.shape()[0], batch = h.shape()[0], units = h.shape()[1];
    Values before{reshape(h, {1, batch, units})};
    if (steps > 1) before.push_back(slice(outputs, {0, 0, 0}, {steps - 1, batch, units}));
    return concat(std::vector<Value>{x, concat(before)}, {.axis = 2});
  }
};

}  // namespace

Value lstm_rows(Value gates, Value x, Value h) {
  return apply(LstmRows{}, {gates, x, h}, Where::here());
}

LstmResult lstm(Operand x, Operand kernel, Operand bias, Operand h, Operand c, Lstm options,
                Where where) {
  const Operand operands[] = {std::move(x), std::move(kernel), std::move(bias), std::move(h),
                              std::move(c)};
  Values in = Operand::resolve(LstmOp::name, operands, where);
  const ProductOptions products = in[0].graph().products();
  const Values all = add_node(LstmOp{options, products}, std::move(in), where);
  return {all[kOutputs], all[kH], all[kC]};
}

}  // namespace rein
