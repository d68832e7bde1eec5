#include "rein/compute/origin.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/number_text.h"
#include "trace.h"

namespace rein {
namespace {

// The first element that is not finite, or -1. Integers are.
int64_t first_non_finite(const Spec& spec, const void* data) {
  if (!is_floating(spec.dtype)) return -1;
  return visit_float(spec.dtype, [&](auto zero) -> int64_t {
    const auto* x = static_cast<const decltype(zero)*>(data);
    for (int64_t i = 0; i < spec.size(); ++i)
      if (!std::isfinite(x[i])) return i;
    return -1;
  });
}

double element(const Spec& spec, const void* data, int64_t i) {
  return visit_float(spec.dtype, [&](auto zero) {
    return static_cast<double>(static_cast<const decltype(zero)*>(data)[i]);
  });
}

std::vector<int64_t> index_of(const Shape& shape, int64_t at) {
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()));
  for (int axis = shape.rank(); axis-- > 0; at /= shape[axis])
    index[static_cast<size_t>(axis)] = at % shape[axis];
  return index;
}

std::string scope_of(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? name : name.substr(0, slash);
}

// The layer of the first variable that a node reads.
std::string layer_of(const Graph& graph, size_t node) {
  for (const Value& v : graph.nodes()[node].in)
    if (const auto& variable = graph.node(v).variable) return scope_of(variable->name());
  return {};
}

}  // namespace

std::optional<NonFiniteOrigin> GradientRecording::find_non_finite(std::span<const Tensor> inputs,
                                                                  uint64_t step, Where where) {
  using Pass = NonFiniteOrigin::Pass;
  std::vector<std::string> bad_variables;
  for (size_t i = 0; i < variables_->size(); ++i) {
    const Variable v = (*const_cast<Variables*>(variables_))[i];
    const Tensor numbers = v.read();
    if (first_non_finite(numbers.spec(), numbers.data()) >= 0) bad_variables.push_back(v.name());
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Spec& spec = inputs[i].spec();
    const int64_t at = first_non_finite(spec, inputs[i].data());
    if (at < 0) continue;
    NonFiniteOrigin origin;
    origin.pass = Pass::input;
    origin.op = fmt::format("{}", i);
    origin.result = to_string(spec);
    origin.index = index_of(spec.shape, at);
    origin.value = element(spec, inputs[i].data(), at);
    origin.bad_variables = std::move(bad_variables);
    return origin;
  }

  std::optional<NonFiniteOrigin> found;
  const auto look = [&](const Recording::Executed& e) {
    const Graph& graph = recording_.graph();
    for (const Out& out : e.out) {
      const int64_t at = first_non_finite(*out.spec, out.data);
      if (at < 0) continue;
      NonFiniteOrigin origin;
      origin.pass = e.node < forward_nodes_ ? Pass::forward : Pass::backward;
      origin.op = e.op.name;
      origin.layer = layer_of(graph, e.node);
      const auto& node = graph.nodes()[e.node];
      origin.where = node.where;
      if (node.gradient_of) {
        const auto& source = graph.nodes()[*node.gradient_of];
        if (source.op) {
          origin.gradient_of = source.op->name;
          origin.where = source.where;
        } else if (source.variable) {  // the sum of what its uses give
          origin.gradient_of = fmt::format("'{}'", source.variable->name());
          origin.layer = scope_of(source.variable->name());
        }
      }
      origin.value = element(*out.spec, out.data, at);
      origin.result = to_string(*out.spec);
      origin.index = index_of(out.shape(), at);
      origin.bad_variables = bad_variables;
      if (e.op.locate) {
        if (const auto place = e.op.locate(graph.nodes()[e.node].attributes.get(), e.in, e.out)) {
          origin.in_sequence = true;
          origin.place = *place;
        }
      }
      found = std::move(origin);
      return false;
    }
    return true;
  };
  recording_.inspect(inputs, step, look, where);
  if (!found && !bad_variables.empty()) {
    found.emplace();
    found->pass = Pass::variable;
    found->op = bad_variables.front();
    found->layer = scope_of(bad_variables.front());
    found->bad_variables = std::move(bad_variables);
  }
  return found;
}

std::string NonFiniteOrigin::text() const {
  std::string s;
  switch (pass) {
    case Pass::input:
      return fmt::format("input {} ({}) is {} at [{}]", op, result, number_text(value),
                         fmt::join(index, ", "));
    case Pass::variable:
      return fmt::format("variable '{}' is not finite, and no op has a result that is not", op);
    case Pass::forward:
      s = "forward, op " + op;
      break;
    case Pass::backward:
      s = "backward, op " + op;
      break;
  }
  if (!layer.empty()) s += fmt::format(" of layer '{}'", layer);
  if (!op.starts_with(gradient_of)) s += " in the gradient of " + gradient_of;
  if (where.line > 0) s += fmt::format(" ({}:{})", where.file, where.line);
  if (in_sequence)
    s += fmt::format(": {} {} is not finite at time step {}, example {}, unit {}",
                     place.gate == "c" ? "cell" : "gate", place.gate, place.step, place.example,
                     place.unit);
  else
    s += fmt::format(": {} at [{}] of its result, {}", number_text(value), fmt::join(index, ", "),
                     result);
  if (!bad_variables.empty())
    s += fmt::format("; not finite themselves: variables '{}'", fmt::join(bad_variables, "', '"));
  return s;
}

}  // namespace rein
