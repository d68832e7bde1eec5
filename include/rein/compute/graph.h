// The graph: an append-only list of op records. A tape executes it while it grows; a recorded
// function plans it once and replays it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rein/compute/op.h"
#include "rein/kernels/precision.h"

namespace rein {

struct GraphOptions {
  bool eager = true;           // compute each node as it is added
  ThreadTeam* team = nullptr;  // none: the caller's thread alone
  Seed seed{};                 // of random ops
  uint64_t step = 0;           // random ops draw anew each step
  // Gradients of weights are then products and sums of values that hold each example apart.
  bool examples_apart = false;
  ProductOptions products{};  // of float32
};

class Graph {
 public:
  struct Node {
    const OpRecord* op = nullptr;  // none: an input, a constant or a parameter
    std::shared_ptr<const void> attributes{};
    Values in{};
    std::vector<Spec> out{};
    std::optional<Variable> variable{};  // of a parameter
    std::vector<Tensor> tensors{};       // one a result once computed
    bool is_input = false;
    Where where{};
    std::optional<size_t> gradient_of{};  // the node of the program whose gradient it is part of
  };

  explicit Graph(GraphOptions options = {}) : options_(options), own_team_(1) {}
  Graph(const Graph&) = delete;  // values point here
  Graph& operator=(const Graph&) = delete;

  /// A place for data: a tape takes the tensor, a recording its spec.
  Value input(Tensor tensor);
  Value input(const Spec& spec);
  Value constant(Tensor tensor);
  /// The variable as a value; the same one each time it is asked for. A tape reads its numbers now.
  Value parameter(Variable variable);

  Values add(const OpRecord& record, std::shared_ptr<const void> op, Values in, Where where);

  /// The derivatives of sum(y) with respect to each of `xs`, as values of this graph (so they can
  /// be differentiated again); nothing where y does not depend on x.
  Cotangents gradients(Value y, std::span<const Value> xs, Where where = Where::here());

  /// The variables that occur in the graph, in the order of their creation in their store.
  std::vector<Variable> variables() const;

  /// Computes `values`, and what they need, unless they are there.
  void evaluate(std::span<const Value> values);

  /// The values whose numbers an op reads: its arguments, or the first one if its results are
  /// views.
  std::span<const Value> read_by(const Node& node) const;

  bool eager() const { return options_.eager; }
  Seed seed() const { return options_.seed; }
  const ProductOptions& products() const { return options_.products; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(const Value& v) const { return nodes_[v.node()]; }

 private:
  Value push(Node node);
  void run(size_t node);

  GraphOptions options_;
  ThreadTeam own_team_;
  std::vector<Node> nodes_;
  std::vector<size_t> parameters_;  // which of them read a variable
  Buffer scratch_;
};

/// The numbers that random ops of node `node` draw at step `step`.
RandomStream random_of(Seed seed, uint64_t step, size_t node);

/// The derivatives of sum(y), tf.gradients: zeros where y does not depend on x.
Values gradients(Value y, std::span<const Value> xs, Where where = Where::here());

}  // namespace rein
