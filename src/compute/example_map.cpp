#include "compute/example_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "compute/ops/examples.h"
#include "compute/ops/strided.h"

namespace rein {
namespace {

using enum Examples::Kind;

const std::byte* bytes_of(const Tensor& t) { return static_cast<const std::byte*>(t.data()); }

// The axis that is one longer in `more`; -1 if none is, -2 if anything else differs.
int longer_axis(const Spec& spec, const Spec& more, int64_t batch) {
  const Shape &a = spec.shape, &b = more.shape;
  if (a.rank() != b.rank() || spec.dtype != more.dtype) return -2;
  int found = -1;
  for (int axis = 0; axis < a.rank(); ++axis) {
    if (a[axis] == b[axis]) continue;
    if (found >= 0 || a[axis] % batch != 0 || a[axis] / batch * (batch + 1) != b[axis]) return -2;
    found = axis;
  }
  return found;
}

// Whether every index along `axis` has the numbers of index 0 of `like`.
bool all_alike(const Tensor& t, const Tensor& like, int axis) {
  const Shape& shape = t.shape();
  const size_t run = static_cast<size_t>(stride_of(shape, axis)) * size_of(t.dtype());
  for (int64_t outer = 0; outer < shape.size(0, axis); ++outer) {
    const auto* first = bytes_of(like) + static_cast<size_t>(outer * like.shape()[axis]) * run;
    for (int64_t k = 0; k < shape[axis]; ++k)
      if (std::memcmp(bytes_of(t) + static_cast<size_t>(outer * shape[axis] + k) * run, first,
                      run) != 0)
        return false;
  }
  return true;
}

bool same_kind(const Graph::Node& a, const Graph::Node& b) {
  return a.op == b.op && a.variable == b.variable && a.is_input == b.is_input &&
         a.out.size() == b.out.size() &&
         std::ranges::equal(a.in, b.in, [](const Value& v, const Value& w) {
           return v.node() == w.node() && v.output() == w.output();
         });
}

bool same_attributes(const Graph::Node& a, const Graph::Node& b) {
  return a.op->attributes_are_shapes || a.op->equal(a.attributes.get(), b.attributes.get());
}

std::string place(const Graph::Node& node) {
  return fmt::format("{} ({}:{})", node.op->name, node.where.file, node.where.line);
}

}  // namespace

ExampleMap::ExampleMap(const Recorded& recorded, const Recorded& of_one_more, int64_t batch)
    : graph_(*recorded.graph), batch_(batch) {
  const auto &nodes = graph_.nodes(), &others = of_one_more.graph->nodes();
  if (nodes.size() != others.size())
    throw ExamplesMixed("the cost takes other ops for a batch of another size");
  for (size_t id = 0; id < nodes.size(); ++id) {
    if (!same_kind(nodes[id], others[id]))
      throw ExamplesMixed("the cost takes other ops for a batch of another size");
    if (!nodes[id].op) {
      add_source(nodes[id], others[id]);
      continue;
    }
    if (!same_attributes(nodes[id], others[id]))
      throw ExamplesMixed(
          fmt::format("{} has other attributes for a batch of another size", place(nodes[id])));
    follow();
    for (size_t i = 0; i < nodes[id].out.size(); ++i) check_shape(nodes[id], others[id], i);
  }
}

// That it follows the size of the batch where examples are, and nowhere else.
void ExampleMap::check_shape(const Graph::Node& node, const Graph::Node& other, size_t i) {
  Examples& at = of_.back()[i];
  if (at.kind != none && at.kind != apart) return;
  const Shape& shape = node.out[i].shape;
  const int axis = longer_axis(node.out[i], other.out[i], batch_);
  if (at.kind == none && axis >= 0 && node.op->name == "broadcast_to") {
    at = along(shape, {axis, 1});  // the same for each example
    return;
  }
  const auto expected = example_axis(shape, at, batch_);
  if (at.kind == none ? axis != -1 : expected && axis != expected->axis)
    throw ExamplesMixed(
        fmt::format("{} has another shape for a batch of another size", place(node)));
}

void ExampleMap::add_source(const Graph::Node& node, const Graph::Node& other) {
  Examples at;
  if (node.is_input) {
    at = along(node.out[0].shape, {0, 1});
  } else if (!node.variable) {
    const Tensor &t = node.tensors[0], &more = other.tensors[0];
    const int axis = longer_axis(t.spec(), more.spec(), batch_);
    if (axis == -2 || (axis == -1 && std::memcmp(t.data(), more.data(), t.spec().bytes()) != 0) ||
        (axis >= 0 && !(all_alike(t, t, axis) && all_alike(more, t, axis))))
      throw ExamplesMixed(
          fmt::format("a constant, {}, depends on the size of the batch or tells examples apart",
                      to_string(t.spec())));
    if (axis >= 0) at = along(t.shape(), {axis, 1});
  }
  of_.push_back({at});
}

// One node more.
void ExampleMap::follow() {
  const Graph::Node& node = graph_.nodes()[of_.size()];
  if (!node.op) {  // a constant that a gradient rule made
    of_.push_back({Examples{}});
    return;
  }
  std::vector<Spec> in;
  std::vector<Examples> at;
  for (const Value& v : node.in) {
    in.push_back(v.spec());
    at.push_back(of_[v.node()][v.output()]);
  }
  const auto any = [&](Examples::Kind kind) {
    return std::ranges::count(at, kind, &Examples::kind) > 0;
  };
  const auto all = [&](Examples::Kind kind) {
    return std::ranges::count(at, kind, &Examples::kind) == std::ssize(at);
  };
  std::vector<Examples> result(node.out.size(), {mixed});
  if (any(sum) && all(sum)) {
    if (node.op->sign_in_sums != 0) result[0] = {sum};
  } else if (node.op->examples && !any(mixed) && !any(sum)) {
    if (all(none))
      result.assign(node.out.size(), {});
    else if (auto found = node.op->examples(node.attributes.get(), {in, at, batch_});
             !found.empty())
      result = std::move(found);
  }
  of_.push_back(std::move(result));
}

Examples ExampleMap::of(const Value& v) {
  while (of_.size() <= v.node()) follow();
  return of_[v.node()][v.output()];
}

std::string ExampleMap::mixer_of(const Value& v) {
  of(v);
  const auto& nodes = graph_.nodes();
  std::vector<char> leads(v.node() + 1, 0);
  leads[v.node()] = 1;
  for (size_t id = v.node() + 1; id-- > 0;)
    if (leads[id])
      for (const Value& in : nodes[id].in) leads[in.node()] = 1;
  for (size_t id = 0; id <= v.node(); ++id)
    if (leads[id] && std::ranges::count(of_[id], mixed, &Examples::kind) > 0)
      return place(nodes[id]);
  return place(nodes[v.node()]);
}

}  // namespace rein
