// Nodes of a graph, and what may stand where a function of ops.h wants one.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rein/tensor/variables.h"

namespace rein {

class Graph;

/// One result of one node of a graph: a cheap handle. Everything that can be computed with it is in
/// rein/compute/ops.h.
class Value {
 public:
  Value() = default;
  Value(Graph* graph, size_t node, size_t output = 0)
      : graph_(graph), node_(node), output_(output) {}

  bool defined() const { return graph_ != nullptr; }
  Graph& graph() const { return *graph_; }
  size_t node() const { return node_; }
  size_t output() const { return output_; }

  const Spec& spec() const;
  const Shape& shape() const { return spec().shape; }
  DType dtype() const { return spec().dtype; }

  /// The numbers. On a tape only: a value of a recorded function has none until it runs, and
  /// throws InvalidArgument.
  Tensor tensor(Where where = Where::here()) const;
  /// The only number of a one-element value.
  double item(Where where = Where::here()) const { return tensor(where).item(where); }

  friend bool operator==(const Value&, const Value&) = default;

 private:
  Graph* graph_ = nullptr;
  size_t node_ = 0;
  size_t output_ = 0;
};

using Values = std::vector<Value>;

/// An argument of an op: a value; a variable, which joins the graph of the values beside it; a
/// constant tensor; or a number, which takes the floating type of the values beside it.
class Operand {
 public:
  Operand(Value value) : value_(value) {}
  Operand(Variable variable) : variable_(variable) {}
  Operand(Tensor constant) : constant_(std::move(constant)) {}
  Operand(double number) : number_(number) {}

  /// The values of all operands, in their graph. Throws InvalidArgument if none of them has one, or
  /// if they have different ones.
  static Values resolve(std::string_view op, std::span<const Operand> operands, Where where);

 private:
  std::optional<DType> dtype() const;
  Value in(Graph& graph, DType number_type) const;

  std::optional<Value> value_;
  std::optional<Variable> variable_;
  std::optional<Tensor> constant_;
  double number_ = 0;
};

}  // namespace rein
