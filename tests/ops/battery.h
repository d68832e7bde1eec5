// The battery of ops: rows say how to build a value, the battery checks its gradient (float64,
// directional), tape against recording, and equal bits for any number of threads.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "rein/compute/ops.h"
#include "rein/compute/recording.h"
#include "rein/compute/tape.h"

namespace rein::test {

struct OpRow {
  std::string name;  // of the row: the op, and what is special
  /// Shapes of the floating inputs; drawn from a normal distribution.
  std::vector<Shape> inputs;
  std::function<Value(std::span<const Value> in)> build;
  /// Changes the drawn numbers: positive ones for log, away from kinks for abs, ...
  std::function<double(size_t input, double x)> map = [](size_t, double x) { return x; };
  /// Further inputs of integer type, appended to `in`.
  std::vector<Tensor> integers = {};
  /// Which inputs have a gradient to check; empty: all floating ones.
  std::set<size_t> differentiable = {};
  bool second_order = true;
  bool has_gradient = true;
};

/// All rows of the program, from the *_rows.cpp beside this file.
std::vector<OpRow> all_rows();
std::vector<OpRow> elementwise_rows();
std::vector<OpRow> array_rows();
std::vector<OpRow> product_rows();
std::vector<OpRow> loss_rows();
std::vector<OpRow> example_rows();

/// The largest relative disagreement between the gradient rule and the difference quotient, over a
/// few random directions. `order` 2 checks the gradient of the gradient.
double gradient_error(const OpRow& row, int order);

/// Empty, or what differs between the tape and the recording, or between 1, 2 and 3 threads.
std::string bit_difference(const OpRow& row);

/// Names of the ops that the row's graphs consist of, backward passes included.
std::set<std::string> ops_of(const OpRow& row);

}  // namespace rein::test
