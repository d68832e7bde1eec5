// A small model with a dense, a sparse and an absent gradient, for the tests of all three stages.
#pragma once

#include "process/numbers.h"
#include "rein/rein.h"

namespace rein {

/// loss = mean((x w + b - y)^2) * size + sum(e[ids]^2); `unused` is in no formula.
struct SmallModel {
  explicit SmallModel(DType dtype = DType::float32, double loss_size = 1)
      : vars(Seed{1}, dtype), size(loss_size) {
    w = add_variable(vars, "w", {3, 2}, noise(6, 1));
    unused = add_variable(vars, "unused", {4}, {1, 2, 3, 4});
    b = add_variable(vars, "b", {2}, {0.1, -0.2});
    e = add_variable(vars, "e", {5, 2}, noise(10, 2));
    x = tensor({4, 3}, noise(12, 3), dtype);
    y = tensor({4, 2}, noise(8, 4), dtype);
    ids = Tensor::of<int64_t>({3}, {3, 0, 3});
  }

  Value loss(Value in, Value out, Value rows_of_e) const {
    const Value error = matmul(in, w) + b - out;
    return reduce_mean(square(error)) * size + reduce_sum(square(gather(e, rows_of_e)));
  }
  auto cost() const {
    return [this](Value in, Value out, Value rows_of_e) { return loss(in, out, rows_of_e); };
  }
  Value loss_on(GradientTape& tape) const {
    return loss(tape.input(x), tape.input(y), tape.input(ids));
  }

  /// The numbers of all variables, in their order.
  std::vector<std::vector<double>> weights() {
    std::vector<std::vector<double>> all;
    for (size_t i = 0; i < vars.size(); ++i) all.push_back(numbers(vars[i].read()));
    return all;
  }
  /// Dense gradients in double, repeated rows added up; empty where absent.
  std::vector<std::vector<double>> gradients() {
    GradientTape tape;
    std::vector<std::vector<double>> all;
    for (const Gradient& g : tape.gradient(loss_on(tape), vars))
      all.push_back(!g ? std::vector<double>{}
                       : numbers(g.is_sparse() ? Gradient(to_dense(g.sparse())) : g));
    return all;
  }

  Variables vars;
  double size;
  Variable w, unused, b, e;
  Tensor x, y, ids;
};

/// All that is saved of a step, as one text.
inline std::string bits(const StateDict& state) {
  std::string text;
  for (const auto& [name, value] : state) {
    text += name + ": " + to_string(value) + "\n";
    if (const Tensor* t = std::get_if<Tensor>(&value))
      text.append(static_cast<const char*>(t->data()), t->spec().bytes());
  }
  return text;
}

}  // namespace rein
