// Activations. The gradients of tanh, sigmoid and relu are ops of their own, made of the result
// alone, so that nothing else has to be kept.
#include "compute/ops/elementwise.h"

namespace rein {
namespace {

using kernels::Binary;
using kernels::Unary;

struct TanhGrad : BinaryOp<Binary::tanh_grad> {  // d (1 - y^2)
  static constexpr std::string_view name = "tanh_grad";
  Cotangents vjp(const Backward& b) const {
    const Value &d = b.in[0], &y = b.in[1];
    return {apply(TanhGrad{}, {b.dy(), y}, Where::here()), b.dy() * d * y * -2.0};
  }
};

struct Tanh : UnaryOp<Unary::tanh> {
  static constexpr std::string_view name = "tanh";
  Cotangents vjp(const Backward& b) const {
    return {apply(TanhGrad{}, {b.dy(), b.y()}, Where::here())};
  }
};

struct SigmoidGrad : BinaryOp<Binary::sigmoid_grad> {  // d y (1 - y)
  static constexpr std::string_view name = "sigmoid_grad";
  Cotangents vjp(const Backward& b) const {
    const Value &d = b.in[0], &y = b.in[1];
    return {apply(SigmoidGrad{}, {b.dy(), y}, Where::here()), b.dy() * d * (1.0 - 2.0 * y)};
  }
};

struct Sigmoid : UnaryOp<Unary::sigmoid> {
  static constexpr std::string_view name = "sigmoid";
  Cotangents vjp(const Backward& b) const {
    return {apply(SigmoidGrad{}, {b.dy(), b.y()}, Where::here())};
  }
};

struct ReluGrad : BinaryOp<Binary::relu_grad> {  // d where y > 0
  static constexpr std::string_view name = "relu_grad";
  Cotangents vjp(const Backward& b) const {
    return {apply(ReluGrad{}, {b.dy(), b.in[1]}, Where::here()), Cotangent()};
  }
};

struct Relu : UnaryOp<Unary::relu> {
  static constexpr std::string_view name = "relu";
  Cotangents vjp(const Backward& b) const {
    return {apply(ReluGrad{}, {b.dy(), b.y()}, Where::here())};
  }
};

struct Softplus : UnaryOp<Unary::softplus> {
  static constexpr std::string_view name = "softplus";
  Cotangents vjp(const Backward& b) const { return {b.dy() * sigmoid(b.in[0])}; }
};

}  // namespace

Value tanh(Operand x, Where where) { return apply(Tanh{}, {x}, where); }
Value sigmoid(Operand x, Where where) { return apply(Sigmoid{}, {x}, where); }
Value relu(Operand x, Where where) { return apply(Relu{}, {x}, where); }
Value softplus(Operand x, Where where) { return apply(Softplus{}, {x}, where); }

}  // namespace rein
