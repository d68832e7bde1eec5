#include "rein/compute/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/flush_denormals.h"
#include "rein/compute/ops.h"

namespace rein {

RandomStream random_of(Seed seed, uint64_t step, size_t node) {
  // A stream of its own for each (step, node): Philox mixes the two words of the stream. What does
  // not fit there, micro-batches and examples, has seeds of its own.
  const Seed own{seed.value ^ (step >> 32) * 0x9E3779B97F4A7C15};
  return {own, step << 32 ^ static_cast<uint64_t>(node)};
}

Value Graph::push(Node node) {
  nodes_.push_back(std::move(node));
  return {this, nodes_.size() - 1};
}

Value Graph::input(Tensor tensor) {
  Value v = input(tensor.spec());
  nodes_.back().tensors = {std::move(tensor)};
  return v;
}

Value Graph::input(const Spec& spec) { return push({.out = {spec}, .is_input = true}); }

Value Graph::constant(Tensor tensor) { return push({.out = {tensor.spec()}, .tensors = {tensor}}); }

Value Graph::parameter(Variable variable) {
  for (size_t id : parameters_)
    if (nodes_[id].variable == variable) return {this, id};
  Node node{.out = {variable.spec()}, .variable = variable};
  if (eager()) node.tensors = {variable.read()};
  parameters_.push_back(nodes_.size());
  return push(std::move(node));
}

Values Graph::add(const OpRecord& record, std::shared_ptr<const void> op, Values in, Where where) {
  Node node{.op = &record, .attributes = std::move(op), .in = std::move(in), .where = where};
  std::vector<Spec> specs;
  for (const Value& v : node.in) specs.push_back(v.spec());
  try {
    node.out = record.infer(node.attributes.get(), specs);
    for (const Spec& s : node.out) s.size();  // throws if it is too large
  } catch (const RuleViolation& violation) {
    throw rule_error(record.name, violation.what(), specs, where);
  } catch (const InvalidArgument&) {  // from Shape, which knows no place
    throw rule_error(record.name, "the result has too many axes or elements", specs, where);
  }
  const Value first = push(std::move(node));
  Values out;
  for (size_t i = 0; i < nodes_.back().out.size(); ++i) out.emplace_back(this, first.node(), i);
  if (eager()) run(first.node());
  return out;
}

void Graph::run(size_t id) {
  Node& node = nodes_[id];
  std::vector<Spec> specs;
  for (const Value& v : node.in) specs.push_back(v.spec());
  const void* op = node.attributes.get();
  if (const auto offsets = node.op->views(op, specs); !offsets.empty()) {
    const Tensor& whole = nodes_[node.in[0].node()].tensors[node.in[0].output()];
    for (size_t i = 0; i < node.out.size(); ++i)
      node.tensors.push_back(whole.piece(offsets[i], node.out[i].shape));
    return;
  }
  std::vector<In> in;
  for (const Value& v : node.in)
    in.push_back({&v.spec(), nodes_[v.node()].tensors[v.output()].data()});
  if (const size_t bytes = node.op->scratch(op, specs); bytes > scratch_.size())
    scratch_ = Buffer(bytes);
  std::vector<Out> out;
  for (const Spec& spec : node.out) {
    node.tensors.emplace_back(spec);
    out.push_back({&spec, node.tensors.back().data()});
  }
  const FlushDenormals flush;
  node.op->forward(op,
                   {.team = options_.team ? *options_.team : own_team_,
                    .scratch = scratch_.data(),
                    .random = random_of(options_.seed, options_.step, id)},
                   in, out);
}

std::span<const Value> Graph::read_by(const Node& node) const {
  if (!node.op) return {};
  std::vector<Spec> specs;
  for (const Value& v : node.in) specs.push_back(v.spec());
  const bool is_view = !node.op->views(node.attributes.get(), specs).empty();
  return {node.in.data(), is_view ? 1 : node.in.size()};
}

void Graph::evaluate(std::span<const Value> values) {
  std::vector<size_t> missing;
  std::vector<char> seen(nodes_.size(), 0);
  for (const Value& v : values) missing.push_back(v.node());
  std::vector<size_t> order;
  while (!missing.empty()) {
    const size_t id = missing.back();
    missing.pop_back();
    if (seen[id] || !nodes_[id].op || !nodes_[id].tensors.empty()) continue;
    seen[id] = 1;
    order.push_back(id);
    for (const Value& v : read_by(nodes_[id])) missing.push_back(v.node());
  }
  std::ranges::sort(order);  // the list is append-only: arguments stand before results
  for (size_t id : order) run(id);
}

std::vector<Variable> Graph::variables() const {
  std::vector<Variable> found;
  for (size_t id : parameters_) found.push_back(*nodes_[id].variable);
  std::ranges::stable_sort(found, {}, &Variable::index);
  return found;
}

namespace {

// What has flowed back to one value so far.
struct Inflow {
  Values dense;
  std::vector<Rows> rows;

  void take(const Cotangent& c) {
    if (c.value) dense.push_back(*c.value);
    if (c.rows) rows.push_back(*c.rows);
  }
  bool empty() const { return dense.empty() && rows.empty(); }

  // Rows stay rows only if nothing dense came.
  Cotangent sum(Where where) const {
    std::optional<Rows> all;
    if (rows.size() == 1) {
      all = rows[0];
    } else if (!rows.empty()) {
      Values indices, values;
      for (const Rows& r : rows) indices.push_back(r.indices), values.push_back(r.values);
      all = Rows{concat(indices, {.axis = 0}, where), concat(values, {.axis = 0}, where),
                 rows[0].dense_shape};
    }
    if (dense.empty()) return all ? Cotangent(*all) : Cotangent();
    Value total = dense[0];
    for (size_t i = 1; i < dense.size(); ++i) total = add(total, dense[i], where);
    return all ? add(total, to_dense(*all, where), where) : total;
  }

  static Value to_dense(const Rows& r, Where where) {
    return scatter_rows(r.indices, r.values, r.dense_shape, where);
  }
};

// Else the op below would be the first to complain.
void check_cotangent(const OpRecord& op, size_t argument, const Spec& spec, const Cotangent& c,
                     Where place) {
  const auto check = [&](const Spec& given) {
    if (given != spec)
      throw InvalidArgument(op.name,
                            fmt::format("its gradient rule gives {} for argument {}, which is {}",
                                        to_string(given), argument, to_string(spec)),
                            place);
  };
  if (c.value) check(c.value->spec());
  if (c.rows) check({c.rows->dense_shape, c.rows->values.dtype()});
}

}  // namespace

Cotangents Graph::gradients(Value y, std::span<const Value> xs, Where where) {
  if (!y.defined() || &y.graph() != this)
    throw InvalidArgument("gradients", "the loss belongs to another tape or none", where);
  for (const Value& x : xs)
    if (!x.defined() || &x.graph() != this)
      throw InvalidArgument("gradients",
                            "a value to differentiate by belongs to another tape or none", where);
  if (!is_floating(y.dtype()))
    throw InvalidArgument("gradients", fmt::format("the loss is {}", to_string(y.spec())), where);

  // Which nodes lead from some x to y: only along those do gradients have to flow.
  const size_t n = y.node() + 1;
  std::vector<char> leads(n, 0);
  for (const Value& x : xs)
    if (x.node() < n) leads[x.node()] = 1;
  for (size_t id = 0; id < n; ++id)
    for (const Value& v : nodes_[id].in)
      if (leads[v.node()] && is_floating(v.dtype())) leads[id] = 1;

  std::vector<std::vector<Inflow>> inflow(n);
  for (size_t id = 0; id < n; ++id) inflow[id].resize(nodes_[id].out.size());

  // The rules only describe the backward pass; what somebody asks for is computed afterwards.
  const bool was_eager = std::exchange(options_.eager, false);
  struct Restore {
    bool& eager;
    bool value;
    ~Restore() { eager = value; }
  } restore{options_.eager, was_eager};

  inflow[y.node()][y.output()].take(ones(y.spec(), *this));
  std::vector<std::vector<Cotangent>> total(n);
  for (size_t id = n; id-- > 0;) {
    if (!leads[id]) continue;
    const bool reached = std::ranges::any_of(inflow[id], [](const auto& f) { return !f.empty(); });
    if (!reached) continue;
    const size_t before = nodes_.size(), source = nodes_[id].gradient_of.value_or(id);
    // Whoever asked for the gradient is the caller of what it is made of.
    const auto attribute = [&] {
      for (size_t k = before; k < nodes_.size(); ++k)
        nodes_[k].where = where, nodes_[k].gradient_of = source;
    };
    for (const Inflow& f : inflow[id]) total[id].push_back(f.sum(where));
    attribute();
    const OpRecord* op = nodes_[id].op;
    if (!op) continue;
    const auto attributes = nodes_[id].attributes;  // copies: rules append nodes
    const Values in = nodes_[id].in;
    const Where place = nodes_[id].where;
    std::vector<char> needed;
    for (const Value& v : in) needed.push_back(leads[v.node()] && is_floating(v.dtype()));
    if (std::ranges::none_of(needed, [](char c) { return c; })) continue;
    if (!op->vjp)
      throw InvalidArgument(op->name, fmt::format("has no gradient: {}", op->no_gradient), place);
    Values out;
    std::vector<std::optional<Value>> dout;
    for (size_t i = 0; i < total[id].size(); ++i) {
      out.emplace_back(this, id, i);
      const Cotangent& c = total[id][i];
      dout.push_back(c.rows ? Inflow::to_dense(*c.rows, where) : c.value);
    }
    Cotangents d;
    try {
      d = op->vjp(attributes.get(), {in, out, dout, needed, options_.examples_apart});
    } catch (const InvalidArgument& e) {  // of an op that the rule is made of
      throw InvalidArgument(fmt::format("gradient of {}", op->name), e.what(), place);
    }
    attribute();
    if (d.size() != in.size())
      throw InvalidArgument(op->name,
                            fmt::format("its gradient rule gives {} cotangents for {} arguments",
                                        d.size(), in.size()),
                            place);
    for (size_t i = 0; i < in.size(); ++i) {
      if (!needed[i]) continue;
      check_cotangent(*op, i, in[i].spec(), d[i], place);
      inflow[in[i].node()][in[i].output()].take(d[i]);
    }
  }

  Cotangents result;
  for (const Value& x : xs)
    result.push_back(x.node() < n && !total[x.node()].empty() ? total[x.node()][x.output()]
                                                              : Cotangent());
  if (was_eager) {
    Values wanted;
    for (const Cotangent& c : result) {
      if (c.value) wanted.push_back(*c.value);
      if (c.rows) wanted.insert(wanted.end(), {c.rows->indices, c.rows->values});
    }
    evaluate(wanted);
  }
  return result;
}

Values gradients(Value y, std::span<const Value> xs, Where where) {
  if (!y.defined()) throw InvalidArgument("gradients", "the loss belongs to no graph", where);
  Values values;
  const Cotangents found = y.graph().gradients(y, xs, where);
  for (size_t i = 0; i < xs.size(); ++i) {
    const Cotangent& c = found[i];
    values.push_back(c.value ? *c.value
                     : c.rows
                         ? scatter_rows(c.rows->indices, c.rows->values, c.rows->dense_shape, where)
                         : y.graph().constant(Tensor(xs[i].spec())));
  }
  return values;
}

}  // namespace rein
