#include "compute/example_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "compute/example_map.h"
#include "compute/ops/example_sums.h"
#include "compute/ops/examples.h"
#include "compute/ops/reduce.h"

namespace rein {
namespace {

using enum Examples::Kind;

// What the gradient of a variable is a sum of: products of rows, or parts [batch, n] that are there
// one an example.
struct Terms {
  std::vector<RowPair> pairs;
  Values parts;
};

// Finds what gradients are made of, and makes them anew of error signals with factors.
class ExampleSums {
 public:
  ExampleSums(Graph& graph, ExampleMap& map) : graph_(graph), map_(map) {}

  // Of each example's gradient, [batch]. Throws ExamplesMixed.
  Value norms(const Cotangent& gradient) {
    if (gradient.rows) return norms(*gradient.rows);
    Terms terms;
    collect(*gradient.value, false, terms);
    if (!terms.parts.empty() && !terms.pairs.empty())
      throw ExamplesMixed("is used in a product and beside one");
    if (terms.parts.empty()) {
      for (const RowPair& pair : terms.pairs)
        if (pair.a.shape()[1] != terms.pairs[0].a.shape()[1] ||
            pair.b.shape()[1] != terms.pairs[0].b.shape()[1])
          throw ExamplesMixed("is used in products of several shapes");
      return example_norms(terms.pairs, map_.batch());
    }
    Value sum = terms.parts[0];
    for (size_t i = 1; i < terms.parts.size(); ++i) sum = sum + terms.parts[i];
    return example_norms(sum);
  }

  Cotangent scaled(const Cotangent& gradient, const Value& factors) {
    if (!factors_.defined() || key(factors) != key(factors_)) {  // what there is has others
      scaled_.clear();
      sums_.clear();
    }
    factors_ = factors;
    if (!gradient.rows) return sum_of_scaled(*gradient.value);
    Rows rows = *gradient.rows;
    rows.values = scaled_value(rows.values, map_.of(rows.values).stride);
    return rows;
  }

 private:
  using Key = std::pair<size_t, size_t>;
  static Key key(const Value& v) { return {v.node(), v.output()}; }
  // What `make` makes of v the first time.
  template <class Make>
  static Value once(std::map<Key, Value>& made, const Value& v, const Make& make) {
    if (const auto found = made.find(key(v)); found != made.end()) return found->second;
    return made[key(v)] = make();
  }

  ExampleAxis axis_of(const Value& v) {
    const auto axis = example_axis(v.shape(), map_.of(v), map_.batch());
    if (!axis) throw ExamplesMixed("has a gradient that is not made of examples");
    return *axis;
  }

  Value norms(const Rows& rows) {
    const int64_t n = rows.indices.spec().size();
    if (map_.of(rows.indices).kind != apart || map_.of(rows.values).kind != apart ||
        axis_of(rows.indices) != axis_of(rows.values))
      throw ExamplesMixed("has rows that are not of single examples");
    return example_row_norms(rows.indices, reshape(rows.values, {n, -1}),
                             axis_of(rows.indices).inner, map_.batch());
  }

  void collect(const Value& v, bool negative, Terms& terms) {
    const Graph::Node node = graph_.node(v);  // a copy: nodes are added
    if (map_.of(v).kind != sum)
      throw ExamplesMixed(map_.of(v).kind == mixed ? "is used where " + map_.mixer_of(v) +
                                                         " does not keep examples apart"
                                                   : "has a gradient that is not made of examples");
    const auto sign = [&](const Value& x) { return negative ? -x : x; };
    if (node.op->name == "matmul") {
      RowPair pair = pair_of(v);
      pair.b = sign(pair.b);
      terms.pairs.push_back(pair);
    } else if (axes_of_sum(node)) {
      terms.parts.push_back(sign(part_of(v)));
    } else {
      for (const Value& in : node.in) collect(in, negative != (node.op->sign_in_sums < 0), terms);
    }
  }

  // A product over rows that are examples, as a^T b.
  RowPair pair_of(const Value& v) {
    const Values in = graph_.node(v).in;
    const auto rows_first = [&](const Value& x) {
      return axis_of(x).axis == 0 ? x : once(transposed_, x, [&] { return transpose(x); });
    };
    return {rows_first(in[0]), rows_first(in[1]), axis_of(in[0]).inner};
  }

  // What each example adds to a reduce_sum, [batch, n].
  Value part_of(const Value& v) {
    return once(parts_, v, [&] {
      const Graph::Node node = graph_.node(v);
      const Value x = node.in[0];
      const ExampleAxis at = axis_of(x);
      const std::vector<int> summed = *axes_of_sum(node);
      Shape split;
      std::vector<int> away;
      int before = 0;  // axes that stay, before that of the examples
      for (int axis = 0; axis < x.shape().rank(); ++axis) {
        const int64_t size = x.shape()[axis];
        if (axis == at.axis) {
          if (const int64_t outer = size / (map_.batch() * at.inner); outer > 1) {
            away.push_back(split.rank());
            split.push_back(outer);
          }
          split.push_back(map_.batch());
          if (at.inner == 1) continue;
          away.push_back(split.rank());
          split.push_back(at.inner);
        } else {
          if (std::ranges::count(summed, axis) > 0)
            away.push_back(split.rank());
          else if (axis < at.axis)
            ++before;
          split.push_back(size);
        }
      }
      Value part = reshape(x, split);
      if (!away.empty()) part = reduce_sum(part, {.axes = away});
      std::vector<int> order(static_cast<size_t>(part.shape().rank()));
      std::iota(order.begin(), order.end(), 0);
      std::rotate(order.begin(), order.begin() + before, order.begin() + before + 1);
      return reshape(transpose(part, order), {map_.batch(), -1});
    });
  }

  // Of what lies behind reshapes, which may be of use elsewhere too.
  Value scaled_value(const Value& x, int64_t stride) {
    Value whole = x;
    while (graph_.node(whole).op && graph_.node(whole).op->name == "reshape")
      whole = graph_.node(whole).in[0];
    const Value scaled =
        once(scaled_, whole, [&] { return scale_examples(whole, factors_, stride); });
    return reshape(scaled, x.shape());
  }

  // A sum over examples, made anew.
  Value sum_of_scaled(const Value& v) {
    return once(sums_, v, [&] {
      const Graph::Node node = graph_.node(v);
      if (node.op->name == "matmul") {
        RowPair pair = pair_of(v);
        pair.b = scaled_value(pair.b, pair.inner * pair.b.shape()[1]);
        return example_product(pair, factors_);
      }
      if (axes_of_sum(node)) {
        const Value part = part_of(v);
        return reshape(reduce_sum(scaled_value(part, part.shape()[1]), {.axes = {0}}), v.shape());
      }
      Values in;
      for (const Value& x : node.in) in.push_back(sum_of_scaled(x));
      return graph_.add(*node.op, node.attributes, std::move(in), node.where)[v.output()];
    });
  }

  Graph& graph_;
  ExampleMap& map_;
  Value factors_;
  std::map<Key, Value> transposed_, parts_, scaled_, sums_;
};

void need_an_example_a_row(ExampleMap& map, const Value& v, std::string_view what) {
  const Shape& shape = v.shape();
  if (map.of(v).kind == mixed)
    throw ExamplesMixed(
        fmt::format("{} does not keep the examples of {} apart", map.mixer_of(v), what));
  if (shape.rank() == 0 || shape[0] != map.batch() || map.of(v) != along(shape, {0, 1}))
    throw ExamplesMixed(fmt::format("{} is not [batch, ...], a row an example", what));
}

}  // namespace

TracedGradients trace_example_gradients(Recorded r, Recorded of_one_more, Variables& variables,
                                        const FactorsOfNorms& factors, Where where) {
  // What flows back into the losses is then a number for each example too.
  for (Recorded* each : {&r, &of_one_more})
    each->outputs[0] = each->outputs[0] * ones(each->outputs[0].spec(), *each->graph);
  ExampleMap map(r, of_one_more, r.inputs[0].shape()[0]);
  for (size_t i = 0; i < r.outputs.size(); ++i)
    need_an_example_a_row(map, r.outputs[i], i == 0 ? "the loss" : "a metric");
  const Values parameters = parameters_of(*r.graph, variables);
  const size_t forward_nodes = r.graph->nodes().size();
  Cotangents gradients = r.graph->gradients(r.outputs[0], parameters, where);
  ExampleSums sums(*r.graph, map);
  Values norms;
  std::vector<size_t> with_gradient;
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i]) try {
        norms.push_back(sums.norms(gradients[i]));
        with_gradient.push_back(i);
      } catch (const ExamplesMixed& e) {
        throw ExamplesMixed(fmt::format("variable '{}' {}", variables[i].name(), e.what()));
      }
  if (norms.empty()) throw ExamplesMixed("the loss depends on none of the variables");
  const ExampleFactors made = factors(norms, with_gradient);
  for (size_t k = 0; k < with_gradient.size(); ++k) {
    Cotangent& gradient = gradients[with_gradient[k]];
    gradient = sums.scaled(gradient, made.factors[k]);
  }
  r.outputs.insert(r.outputs.end(), made.metrics.begin(), made.metrics.end());
  return {std::move(r), forward_nodes, std::move(gradients)};
}

}  // namespace rein
