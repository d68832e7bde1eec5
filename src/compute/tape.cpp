#include "rein/compute/tape.h"

namespace rein {
namespace {

std::vector<Gradient> gradients_of(Graph& graph, Value loss, std::span<const Variable> variables,
                                   Where where) {
  Values parameters;
  for (const Variable& v : variables) parameters.push_back(graph.parameter(v));
  std::vector<Gradient> result;  // copies: one value may be the gradient of two variables
  for (const Cotangent& c : graph.gradients(loss, parameters, where)) {
    if (c.value)
      result.emplace_back(c.value->tensor().clone());
    else if (c.rows)
      result.emplace_back(IndexedSlices{c.rows->values.tensor().clone(), c.rows->indices.tensor(),
                                        c.rows->dense_shape});
    else
      result.emplace_back();
  }
  return result;
}

}  // namespace

std::vector<Gradient> GradientTape::gradient(Value loss, Variables& variables, Where where) {
  std::vector<Variable> all;
  for (size_t i = 0; i < variables.size(); ++i) all.push_back(variables[i]);
  return gradients_of(graph_, loss, all, where);
}

std::vector<Gradient> GradientTape::gradient(Value loss, std::span<const Variable> variables,
                                             Where where) {
  return gradients_of(graph_, loss, variables, where);
}

std::vector<Gradient> compute_gradients(Value loss, std::span<const Variable> variables,
                                        Where where) {
  return gradients_of(loss.graph(), loss, variables, where);
}

}  // namespace rein
