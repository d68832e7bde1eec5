// What the elementwise ops share: an op is one of these, a name and a gradient rule.
#pragma once

#include "compute/ops/examples.h"
#include "compute/ops/rules.h"
#include "rein/kernels/elementwise.h"

namespace rein {

template <kernels::Unary kFunction>
struct UnaryOp {
  bool operator==(const UnaryOp&) const = default;
  bool may_overwrite(size_t) const { return true; }
  Spec infer(Specs in) const {
    require_floating(in[0]);
    return in[0];
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    visit_float(out[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::unary(run.team, kFunction, in[0].as<T>(), out[0].as<T>(), out[0].size());
    });
  }
};

template <kernels::Binary kFunction>
struct BinaryOp {
  bool operator==(const BinaryOp&) const = default;
  bool may_overwrite(size_t) const { return true; }
  Spec infer(Specs in) const {
    require_floating(in[0]);
    require_same_dtype(in[0], in[1]);
    return {broadcast(in[0].shape, in[1].shape), in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, infer(b.in).shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const kernels::Broadcast walk(out[0].shape(), {&in[0].shape(), &in[1].shape()});
    visit_float(out[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::binary(run.team, kFunction, walk, in[0].as<T>(), in[1].as<T>(), out[0].as<T>());
    });
  }
};

template <kernels::Ternary kFunction>
struct TernaryOp {
  bool operator==(const TernaryOp&) const = default;
  bool may_overwrite(size_t) const { return true; }
  Spec infer(Specs in) const {
    require_floating(in[0]);
    require_same_dtype(in[0], in[1]);
    require_same_dtype(in[0], in[2]);
    return {broadcast(broadcast(in[0].shape, in[1].shape), in[2].shape), in[0].dtype};
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, infer(b.in).shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const kernels::Broadcast walk(out[0].shape(), {&in[0].shape(), &in[1].shape(), &in[2].shape()});
    visit_float(out[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      kernels::ternary(run.team, kFunction, walk, in[0].as<T>(), in[1].as<T>(), in[2].as<T>(),
                       out[0].as<T>());
    });
  }
};

/// The cotangents of two arguments that were stretched.
inline Cotangents sum_to_both(const Backward& b, Value da, Value db) {
  return {sum_to(da, b.in[0].shape()), sum_to(db, b.in[1].shape())};
}

}  // namespace rein
