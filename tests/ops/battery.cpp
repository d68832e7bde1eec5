#include "battery.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rein::test {
namespace {

std::vector<Tensor> draw_inputs(const OpRow& row, DType dtype) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < row.inputs.size(); ++i) {
    const RandomStream random(Seed{7}, stream_of(row.name) + i);
    Tensor t(row.inputs[i], DType::float64);
    auto x = t.flat<double>();
    // The numbers are float32 ones in both types, so that both see the same point.
    for (size_t k = 0; k < x.size(); ++k) x[k] = static_cast<float>(row.map(i, random.normal(k)));
    inputs.push_back(t.cast(dtype));
  }
  inputs.insert(inputs.end(), row.integers.begin(), row.integers.end());
  return inputs;
}

std::vector<size_t> differentiable(const OpRow& row) {
  if (!row.differentiable.empty()) return {row.differentiable.begin(), row.differentiable.end()};
  std::vector<size_t> all;
  for (size_t i = 0; i < row.inputs.size(); ++i) all.push_back(i);
  return all;
}

Tensor normal_like(const Spec& spec, uint64_t stream) {
  const RandomStream random(Seed{11}, stream);
  Tensor t(spec.shape, DType::float64);
  auto x = t.flat<double>();
  for (size_t k = 0; k < x.size(); ++k) x[k] = random.normal(k);
  return t.cast(spec.dtype);
}

// The scalar whose gradient is checked: the result, or its gradients, against fixed weights.
Value scalar_of(const OpRow& row, std::span<const Value> in, int order) {
  Value y = row.build(in);
  Value loss = reduce_sum(mul(y, normal_like(y.spec(), 1)));
  for (int k = 1; k < order; ++k) {
    Values xs;
    for (size_t i : differentiable(row)) xs.push_back(in[i]);
    const Values d = gradients(loss, xs);
    for (size_t i = 0; i < d.size(); ++i) {
      Value part = reduce_sum(mul(d[i], normal_like(d[i].spec(), 10 + i)));
      loss = i == 0 ? part : loss + part;
    }
  }
  return loss;
}

double evaluate(const OpRow& row, const std::vector<Tensor>& inputs, int order) {
  GradientTape tape;
  Values in;
  for (const Tensor& t : inputs) in.push_back(tape.input(t));
  return scalar_of(row, in, order).item();
}

std::vector<Tensor> moved(const std::vector<Tensor>& inputs, const std::vector<Tensor>& direction,
                          double by) {
  std::vector<Tensor> result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    result.push_back(inputs[i].clone());
    if (i >= direction.size() || !direction[i].defined() || direction[i].size() == 0) continue;
    auto x = result[i].flat<double>();
    const auto d = direction[i].flat<double>();
    for (size_t k = 0; k < x.size(); ++k) x[k] += by * d[k];
  }
  return result;
}

Values outputs_with_gradients(const OpRow& row, std::span<const Value> in) {
  Value y = row.build(in);
  Values all{y};
  if (!row.has_gradient) return all;
  Value loss = reduce_sum(mul(y, normal_like(y.spec(), 1)));
  Values xs;
  for (size_t i : differentiable(row)) xs.push_back(in[i]);
  for (const Value& d : gradients(loss, xs)) all.push_back(d);
  return all;
}

std::vector<Tensor> run_tape(const OpRow& row, const std::vector<Tensor>& inputs,
                             ThreadTeam& team) {
  GradientTape tape({.team = &team, .seed = Seed{3}, .step = 1});
  Values in;
  for (const Tensor& t : inputs) in.push_back(tape.input(t));
  std::vector<Tensor> results;
  for (const Value& v : outputs_with_gradients(row, in)) results.push_back(v.tensor());
  return results;
}

std::vector<Tensor> run_recorded(const OpRow& row, const std::vector<Tensor>& inputs,
                                 ThreadTeam& team) {
  std::vector<Spec> specs;
  for (const Tensor& t : inputs) specs.push_back(t.spec());
  size_t n = 0;
  Recording recording = record_forward(
      [&](std::span<const Value> in) {
        Values all = outputs_with_gradients(row, in);
        n = all.size();
        return all;
      },
      specs, team, Seed{3});
  recording.run(inputs, 1);
  recording.run(inputs, 1);  // a replay over used memory must give the same
  std::vector<Tensor> results;
  for (size_t i = 0; i < n; ++i) results.push_back(recording.output(i).clone());
  return results;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const size_t bytes = a[i].spec().bytes();
    if (a[i].spec() != b[i].spec()) return false;
    if (bytes > 0 && std::memcmp(a[i].data(), b[i].data(), bytes) != 0) return false;
  }
  return true;
}

}  // namespace

double gradient_error(const OpRow& row, int order) {
  const auto inputs = draw_inputs(row, DType::float64);
  double worst = 0;
  for (uint64_t trial = 0; trial < 3; ++trial) {
    GradientTape tape;
    Values in, xs;
    for (const Tensor& t : inputs) in.push_back(tape.input(t));
    for (size_t i : differentiable(row)) xs.push_back(in[i]);
    const Values d = gradients(scalar_of(row, in, order), xs);

    std::vector<Tensor> direction(row.inputs.size());
    double told = 0, size = 0;
    for (size_t k = 0; k < xs.size(); ++k) {
      const size_t i = differentiable(row)[k];
      direction[i] = normal_like(xs[k].spec(), 100 * trial + i);
      const Tensor dx = d[k].tensor();
      const auto g = dx.flat<double>();
      const auto v = direction[i].flat<double>();
      for (size_t e = 0; e < g.size(); ++e) {
        told += g[e] * v[e];
        size += std::abs(g[e] * v[e]);
      }
    }
    // Four points: the error of the quotient is of order h^4, far below 1e-7 here.
    const double h = 1e-3;
    auto f = [&](double by) { return evaluate(row, moved(inputs, direction, by), order); };
    const double quotient = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
    worst = std::max(worst, std::abs(told - quotient) / std::max(size, 1e-3));
  }
  return worst;
}

std::string bit_difference(const OpRow& row) {
  const auto inputs = draw_inputs(row, DType::float32);
  ThreadTeam one(1), two(2), three(3);
  const auto want = run_tape(row, inputs, one);
  if (!same_bits(want, run_recorded(row, inputs, one))) return "tape and recording differ";
  if (!same_bits(want, run_tape(row, inputs, two))) return "1 and 2 threads differ";
  if (!same_bits(want, run_recorded(row, inputs, two))) return "1 and 2 threads differ, recorded";
  if (!same_bits(want, run_tape(row, inputs, three))) return "1 and 3 threads differ";
  return "";
}

std::set<std::string> ops_of(const OpRow& row) {
  GradientTape tape;
  Values in;
  for (const Tensor& t : draw_inputs(row, DType::float64)) in.push_back(tape.input(t));
  outputs_with_gradients(row, in);
  std::set<std::string> names;
  for (const auto& node : tape.graph().nodes())
    if (node.op) names.emplace(node.op->name);
  return names;
}

}  // namespace rein::test
