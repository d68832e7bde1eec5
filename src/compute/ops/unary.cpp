// Functions of one argument.
#include "compute/ops/elementwise.h"

namespace rein {
namespace {

using kernels::Unary;

struct Neg : UnaryOp<Unary::neg> {
  static constexpr std::string_view name = "neg";
  static constexpr int sign_in_sums = -1;
  Cotangents vjp(const Backward& b) const { return {neg(b.dy())}; }
};

struct Exp : UnaryOp<Unary::exp> {
  static constexpr std::string_view name = "exp";
  Cotangents vjp(const Backward& b) const { return {b.dy() * b.y()}; }
};

struct Log : UnaryOp<Unary::log> {
  static constexpr std::string_view name = "log";
  Cotangents vjp(const Backward& b) const { return {b.dy() / b.in[0]}; }
};

struct Sqrt : UnaryOp<Unary::sqrt> {
  static constexpr std::string_view name = "sqrt";
  Cotangents vjp(const Backward& b) const { return {b.dy() * 0.5 / b.y()}; }
};

struct Square : UnaryOp<Unary::square> {
  static constexpr std::string_view name = "square";
  Cotangents vjp(const Backward& b) const { return {b.dy() * (b.in[0] * 2.0)}; }
};

struct Abs : UnaryOp<Unary::abs> {
  static constexpr std::string_view name = "abs";
  Cotangents vjp(const Backward& b) const { return {b.dy() * sign(b.in[0])}; }
};

struct Sign : UnaryOp<Unary::sign> {
  static constexpr std::string_view name = "sign";
  Cotangents vjp(const Backward&) const { return {Cotangent()}; }  // constant on either side of 0
};

}  // namespace

Value neg(Operand x, Where where) { return apply(Neg{}, {x}, where); }
Value exp(Operand x, Where where) { return apply(Exp{}, {x}, where); }
Value log(Operand x, Where where) { return apply(Log{}, {x}, where); }
Value sqrt(Operand x, Where where) { return apply(Sqrt{}, {x}, where); }
Value square(Operand x, Where where) { return apply(Square{}, {x}, where); }
Value abs(Operand x, Where where) { return apply(Abs{}, {x}, where); }
Value sign(Operand x, Where where) { return apply(Sign{}, {x}, where); }

}  // namespace rein
