#include "rein/nn/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rein/compute/graph.h"

namespace rein {
namespace {

// Counts gates step by step.
class GateCounts {
 public:
  void add(const std::vector<RNNCell::Gate>& gates, Where where) {
    sums_.resize(gates.size());
    counts_.resize(gates.size());
    for (size_t g = 0; g < gates.size(); ++g) {
      GateReport& sum = sums_[g];
      sum.name = gates[g].name;
      sum.is_tanh = gates[g].is_tanh;
      const Tensor wide = gates[g].activation.tensor(where).cast(DType::float64);
      const double closed = gates[g].is_tanh ? -0.9 : 0.1;
      for (double v : wide.flat<double>()) {
        sum.mean += v;
        sum.closed += v < closed;
        sum.open += v > 0.9;
      }
      counts_[g] += static_cast<double>(wide.size());
    }
  }
  std::vector<GateReport> reports() const {
    std::vector<GateReport> all = sums_;
    for (size_t g = 0; g < all.size(); ++g) {
      for (double* x : {&all[g].mean, &all[g].closed, &all[g].open}) *x /= counts_[g];
      if (!std::isfinite(all[g].mean)) all[g].closed = all[g].open = all[g].mean;
    }
    return all;
  }

 private:
  std::vector<GateReport> sums_;
  std::vector<double> counts_;
};

struct Unfolded {
  Value last;                     // output
  std::vector<CellState> states;  // after each step
  GateCounts gates;
};

Unfolded unfold(const RNNCell& cell, const Value& x, CellState state, Where where) {
  Unfolded all;
  for (const Value& row : unstack(x, {.axis = 0}, where)) {
    all.gates.add(cell.gates(row, state, where), where);
    RNNCell::Result result = cell.step(row, state, where);
    state = result.state;
    all.last = result.output;
    all.states.push_back(std::move(result.state));
  }
  return all;
}

Tensor random_signs(const Spec& spec, Seed seed) {
  const RandomStream random(seed, stream_of("inspect"));
  Tensor signs(spec.shape, spec.dtype);
  visit_float(spec.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto all = signs.flat<T>();
    for (size_t i = 0; i < all.size(); ++i) all[i] = random.below(i, 2) == 0 ? T{-1} : T{1};
  });
  return signs;
}

double norm_of(const Tensor& tensor) {
  return visit_float(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    double largest = 0, sum = 0;
    for (T v : tensor.flat<T>()) {
      if (std::isnan(v)) return static_cast<double>(v);
      largest = std::max(largest, std::abs(static_cast<double>(v)));
    }
    if (largest == 0 || std::isinf(largest)) return largest;
    for (T v : tensor.flat<T>()) {
      const double part = static_cast<double>(v) / largest;
      sum += part * part;
    }
    return largest * std::sqrt(sum);
  });
}

}  // namespace

SequenceReport inspect(const RNNCell& cell, Value x, InspectOptions options, Where where) {
  if (!x.graph().eager())
    throw InvalidArgument("inspect", "the input must be on a tape, not in a recording", where);
  if (x.shape().rank() != 3 || x.shape()[0] == 0 || x.shape()[1] == 0)
    throw InvalidArgument(
        "inspect",
        fmt::format("the input must be [steps, batch, input_size], got {}", to_string(x.shape())),
        where);
  const Value first = reshape(slice(x, {0, 0, 0}, {1, x.shape()[1], x.shape()[2]}, where),
                              {x.shape()[1], x.shape()[2]}, where);
  const Unfolded run = unfold(
      cell, x, options.initial_state ? *options.initial_state : cell.zero_state(first), where);
  const Tensor signs = random_signs(run.last.spec(), options.seed);

  Values states;
  for (const CellState& state : run.states)
    states.insert(states.end(), state.values.begin(), state.values.end());
  const Values flows = gradients(mul(run.last, signs, where), states, where);
  x.graph().evaluate(flows);

  SequenceReport report{.states = {}, .gates = run.gates.reports()};
  const auto names = cell.state_names();
  for (size_t s = 0; s < names.size(); ++s) {
    GradientByLag one{.state = names[s], .by_lag = {}};
    for (size_t t = run.states.size(); t-- > 0;)
      one.by_lag.push_back(norm_of(flows[t * names.size() + s].tensor(where)) / norm_of(signs));
    report.states.push_back(std::move(one));
  }
  return report;
}

}  // namespace rein
