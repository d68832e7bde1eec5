#include "rein/compute/value.h"

#include "rein/compute/graph.h"

namespace rein {

const Spec& Value::spec() const {
  if (!graph_) throw InvalidArgument("Value", "it was never given a value", Where{});
  return graph_->nodes()[node_].out[output_];
}

Tensor Value::tensor(Where where) const {
  if (!graph_) throw InvalidArgument("Value::tensor", "the value belongs to no graph", where);
  if (!graph_->eager())
    throw InvalidArgument("Value::tensor",
                          "a value of a recorded function has no numbers until the function runs; "
                          "use a GradientTape to look inside",
                          where);
  graph_->evaluate({this, 1});
  return graph_->nodes()[node_].tensors[output_];
}

std::optional<DType> Operand::dtype() const {
  if (value_) return value_->dtype();
  if (variable_) return variable_->dtype();
  if (constant_) return constant_->dtype();
  return std::nullopt;
}

Value Operand::in(Graph& graph, DType number_type) const {
  if (value_) return *value_;
  if (variable_) return graph.parameter(*variable_);
  if (constant_) return graph.constant(*constant_);
  return graph.constant(Tensor::scalar(number_).cast(number_type));
}

Values Operand::resolve(std::string_view op, std::span<const Operand> operands, Where where) {
  Graph* graph = nullptr;
  DType number_type = DType::float32;
  bool typed = false;
  for (const Operand& o : operands) {
    if (o.value_) {
      if (!o.value_->defined())
        throw InvalidArgument(op, "an operand is an empty Value, of no tape", where);
      if (graph && graph != &o.value_->graph())
        throw InvalidArgument(op, "the operands belong to different tapes", where);
      graph = &o.value_->graph();
    }
    if (const auto d = o.dtype(); d && !typed && is_floating(*d)) number_type = *d, typed = true;
  }
  if (!graph)
    throw InvalidArgument(op,
                          "no operand belongs to a tape or a recording; pass tensors through "
                          "tape.input and variables through tape.read",
                          where);
  Values values;
  for (const Operand& o : operands) values.push_back(o.in(*graph, number_type));
  return values;
}

}  // namespace rein
