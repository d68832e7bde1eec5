#include <cmath>

#include "battery.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;

double positive(size_t, double x) { return std::abs(x) + 0.5; }
// At least 0.1 from `kink`, more than the difference quotients move.
double away_from(double kink, double x) {
  return x < kink ? std::min(x, kink - 0.1) : std::max(x, kink + 0.1);
}
double away_from_0(size_t, double x) { return away_from(0, x); }
// Operand 0 near odd, operand 1 near even numbers: never near each other, either larger.
double never_equal(size_t input, double x) {
  const double even = 2 * std::round(x);
  return even + (input == 0 ? 1 : 0) + 0.3 * std::tanh(x);
}

// Several shapes for an op of two operands: both alike, every way to stretch, odd sizes, none.
void add_binary(std::vector<OpRow>& rows, const std::string& name,
                Value (*op)(Operand, Operand, Where), double (*map)(size_t, double)) {
  const std::vector<std::vector<Shape>> shapes = {
      {{3, 5}, {3, 5}},
      {{7}, {}},
      {{}, {7}},
      {{}, {}},
      {{4, 17}, {17}},
      {{17}, {4, 17}},
      {{5, 3}, {5, 1}},
      {{5, 1}, {5, 3}},
      {{5, 1}, {1, 9}},
      {{2, 3, 4}, {3, 1}},
      {{2, 1, 3, 1}, {2, 1, 5}},
      {{0, 3}, {3}},
  };
  for (const auto& pair : shapes)
    rows.push_back({.name = name + " " + to_string(pair[0]) + to_string(pair[1]),
                    .inputs = pair,
                    .build = [op](In in) { return op(in[0], in[1], Where::here()); },
                    .map = map});
}

void add_unary(std::vector<OpRow>& rows, const std::string& name, Value (*op)(Operand, Where),
               double (*map)(size_t, double)) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{5, 7}, Shape{2, 3, 11}})
    rows.push_back({.name = name + " " + to_string(shape),
                    .inputs = {shape},
                    .build = [op](In in) { return op(in[0], Where::here()); },
                    .map = map});
}

}  // namespace

std::vector<OpRow> elementwise_rows() {
  std::vector<OpRow> rows;
  const auto as_drawn = [](size_t, double x) { return x; };

  add_binary(rows, "add", add, as_drawn);
  add_binary(rows, "sub", sub, as_drawn);
  add_binary(rows, "mul", mul, as_drawn);
  add_binary(rows, "div", div,
             [](size_t i, double x) { return i == 0 ? x : x + std::copysign(1, x); });
  add_binary(rows, "maximum", maximum, never_equal);
  add_binary(rows, "minimum", minimum, never_equal);

  add_unary(rows, "neg", neg, as_drawn);
  add_unary(rows, "exp", exp, as_drawn);
  add_unary(rows, "log", log, positive);
  add_unary(rows, "sqrt", sqrt, positive);
  add_unary(rows, "square", square, as_drawn);
  add_unary(rows, "abs", abs, away_from_0);
  add_unary(rows, "tanh", tanh, as_drawn);
  add_unary(rows, "sigmoid", sigmoid, as_drawn);
  add_unary(rows, "relu", relu, away_from_0);
  add_unary(rows, "softplus", softplus, [](size_t, double x) { return 3 * x; });
  return rows;
}

}  // namespace rein::test
