// Arithmetic and choice, with broadcasting.
#include "compute/ops/elementwise.h"

namespace rein {
namespace {

using kernels::Binary;
using kernels::Ternary;

struct Add : BinaryOp<Binary::add> {
  static constexpr std::string_view name = "add";
  static constexpr int sign_in_sums = 1;
  Cotangents vjp(const Backward& b) const { return sum_to_both(b, b.dy(), b.dy()); }
};

struct Sub : BinaryOp<Binary::sub> {
  static constexpr std::string_view name = "sub";
  Cotangents vjp(const Backward& b) const {
    return {sum_to(b.dy(), b.in[0].shape()), neg(sum_to(b.dy(), b.in[1].shape()))};
  }
};

struct Mul : BinaryOp<Binary::mul> {
  static constexpr std::string_view name = "mul";
  Cotangents vjp(const Backward& b) const {
    return sum_to_both(b, b.dy() * b.in[1], b.dy() * b.in[0]);
  }
};

struct Div : BinaryOp<Binary::div> {
  static constexpr std::string_view name = "div";
  Cotangents vjp(const Backward& b) const {
    const Value da = b.dy() / b.in[1];
    return sum_to_both(b, da, neg(da * b.y()));
  }
};

struct Maximum : BinaryOp<Binary::maximum> {
  static constexpr std::string_view name = "maximum";
  Cotangents vjp(const Backward& b) const {
    const Value second = greater(b.in[1], b.in[0]);
    return sum_to_both(b, where(second, 0.0, b.dy()), where(second, b.dy(), 0.0));
  }
};

struct Minimum : BinaryOp<Binary::minimum> {
  static constexpr std::string_view name = "minimum";
  Cotangents vjp(const Backward& b) const {
    const Value second = greater(b.in[0], b.in[1]);
    return sum_to_both(b, where(second, 0.0, b.dy()), where(second, b.dy(), 0.0));
  }
};

struct Greater : BinaryOp<Binary::greater> {
  static constexpr std::string_view name = "greater";
  Cotangents vjp(const Backward&) const { return {{}, {}}; }  // constant wherever it is smooth
};

struct WhereOp : TernaryOp<Ternary::where> {
  static constexpr std::string_view name = "where";
  Cotangents vjp(const Backward& b) const {
    return {Cotangent(), sum_to(rein::where(b.in[0], b.dy(), 0.0), b.in[1].shape()),
            sum_to(rein::where(b.in[0], 0.0, b.dy()), b.in[2].shape())};
  }
};

struct ClipByValue : TernaryOp<Ternary::clip> {
  static constexpr std::string_view name = "clip_by_value";
  Spec infer(Specs in) const {
    const Spec all = TernaryOp::infer(in);
    require(all.shape == in[0].shape, "the bounds do not broadcast to the shape of x");
    return all;
  }
  // As TensorFlow: what was clipped belongs to the bound, what lies on a bound to x.
  Cotangents vjp(const Backward& b) const {
    const Value &x = b.in[0], &lo = b.in[1], &hi = b.in[2];
    const Value below = greater(lo, x), above = greater(x, hi);
    return {where(below, 0.0, where(above, 0.0, b.dy())),
            sum_to(where(below, b.dy(), 0.0), lo.shape()),
            sum_to(where(above, b.dy(), 0.0), hi.shape())};
  }
};

}  // namespace

Value add(Operand a, Operand b, Where where) { return apply(Add{}, {a, b}, where); }
Value sub(Operand a, Operand b, Where where) { return apply(Sub{}, {a, b}, where); }
Value mul(Operand a, Operand b, Where where) { return apply(Mul{}, {a, b}, where); }
Value div(Operand a, Operand b, Where where) { return apply(Div{}, {a, b}, where); }
Value maximum(Operand a, Operand b, Where where) { return apply(Maximum{}, {a, b}, where); }
Value minimum(Operand a, Operand b, Where where) { return apply(Minimum{}, {a, b}, where); }
Value greater(Operand a, Operand b, Where where) { return apply(Greater{}, {a, b}, where); }

Value where(Operand condition, Operand a, Operand b, Where where) {
  return apply(WhereOp{}, {condition, a, b}, where);
}

Value clip_by_value(Operand x, Operand lo, Operand hi, Where where) {
  return apply(ClipByValue{}, {x, lo, hi}, where);
}

}  // namespace rein
