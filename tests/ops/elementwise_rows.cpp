#include <algorithm>
#include <cmath>

#include "battery.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;
using Map = double (*)(size_t input, double x);

double as_drawn(size_t, double x) { return x; }
double positive(size_t, double x) { return std::abs(x) + 0.5; }
// The difference quotients move an input by up to 0.01: kinks and poles are kept further away.
double away_from_0(size_t, double x) { return x + std::copysign(0.1, x); }
double divisor_away_from_0(size_t input, double x) {
  return input == 0 ? x : x + std::copysign(1, x);
}
// Input 0 lies near odd numbers, input 1 near even ones: never equal, either one larger.
double never_equal(size_t input, double x) {
  return 2 * std::round(x) + (input == 0 ? 1 : 0) + 0.3 * std::tanh(x);
}
// Input 0 below -1, around 0 or above 1; bounds 1 near -0.6 and 2 near 0.6.
double around_bounds(size_t input, double x) {
  const double near = 0.2 * std::tanh(x);
  if (input == 0) return 1.2 * std::round(std::clamp(x, -1.0, 1.0)) + near;
  return near + (input == 1 ? -0.6 : 0.6);
}

OpRow row(const std::string& name, std::vector<Shape> inputs, std::function<Value(In)> build,
          Map map = as_drawn) {
  std::string full = name;
  for (const Shape& shape : inputs) (full += ' ') += to_string(shape);
  return {.name = full, .inputs = std::move(inputs), .build = std::move(build), .map = map};
}

// Long enough to be cut into several tiles.
OpRow large(OpRow r) {
  r.second_order = false;
  return r;
}

void add_unaries(std::vector<OpRow>& rows) {
  struct Case {
    std::string name;
    Value (*op)(Operand, Where);
    Map map = as_drawn;
  };
  const Case cases[] = {
      {"neg", neg},
      {"exp", exp},
      {"log", log, positive},
      {"sqrt", sqrt, positive},
      {"square", square},
      {"abs", abs, away_from_0},
      {"sign", sign, away_from_0},
      {"tanh", tanh},
      {"sigmoid", sigmoid},
      {"relu", relu, away_from_0},
      {"softplus", softplus, [](size_t, double x) { return 3 * x; }},
  };
  for (const Case& c : cases) {
    const auto build = [op = c.op](In in) { return op(in[0], Where::here()); };
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{5, 7}, Shape{2, 3, 11}})
      rows.push_back(row(c.name, {shape}, build, c.map));
    rows.push_back(large(row(c.name, {{3, 12007}}, build, c.map)));
  }
}

void add_binaries(std::vector<OpRow>& rows) {
  struct Case {
    std::string name;
    Value (*op)(Operand, Operand, Where);
    Map map = as_drawn;
  };
  const Case cases[] = {
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div, divisor_away_from_0},
      {"maximum", maximum, never_equal},
      {"minimum", minimum, never_equal},
      {"greater", greater, never_equal},
  };
  // Both alike; a scalar, a row, a column on either side; both stretched; odd sizes; none.
  const std::vector<Shape> shapes[] = {
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
  for (const Case& c : cases) {
    const auto build = [op = c.op](In in) { return op(in[0], in[1], Where::here()); };
    for (const auto& pair : shapes) rows.push_back(row(c.name, pair, build, c.map));
    for (const Shape& b : {Shape{150, 257}, Shape{257}, Shape{150, 1}, Shape{}})
      rows.push_back(large(row(c.name, {{150, 257}, b}, build, c.map)));
  }
}

void add_choices(std::vector<OpRow>& rows) {
  const auto choose = [](In in) { return where(greater(in[0], 0.0), in[1], in[2]); };
  for (const auto& shapes : std::vector<std::vector<Shape>>{
           {{3, 5}, {3, 5}, {3, 5}}, {{}, {}, {}}, {{5}, {3, 1}, {}}, {{3, 1}, {5}, {3, 5}}})
    rows.push_back(row("where", shapes, choose, away_from_0));
  rows.push_back(large(row("where", {{150, 257}, {150, 1}, {257}}, choose, away_from_0)));

  rows.push_back(row(
      "clip_by_value numbers", {{4, 9}}, [](In in) { return clip_by_value(in[0], -0.6, 0.6); },
      around_bounds));
  const auto clip = [](In in) { return clip_by_value(in[0], in[1], in[2]); };
  for (const auto& shapes : std::vector<std::vector<Shape>>{
           {{4, 9}, {4, 9}, {4, 9}}, {{4, 9}, {9}, {4, 1}}, {{}, {}, {}}, {{17}, {1}, {}}})
    rows.push_back(row("clip_by_value", shapes, clip, around_bounds));
  rows.push_back(large(row("clip_by_value", {{150, 257}, {257}, {150, 1}}, clip, around_bounds)));
}

void add_passes(std::vector<OpRow>& rows) {
  for (const Shape& shape : {Shape{}, Shape{3, 7}, Shape{3, 12007}}) {
    const auto add = [&](OpRow r) {
      rows.push_back(shape.size() > 1000 ? large(std::move(r)) : std::move(r));
    };
    add(row("cast", {shape}, [](In in) { return cast(in[0], DType::float64); }));
    add(row("dropout", {shape}, [](In in) { return dropout(in[0], 0.3); }));
    add(row("dropout twice", {shape},
            [](In in) { return tanh(dropout(in[0], 0.3)) * dropout(in[0], 0.5); }));
  }
  OpRow integers =
      row("cast of integers", {{3}}, [](In in) { return in[0] * cast(in[1], in[0].dtype()); });
  integers.integers = {Tensor::of<int64_t>({3}, {2, -5, 7})};
  rows.push_back(std::move(integers));
  OpRow stopped = row("stop_gradient", {{3, 5}, {5}},
                      [](In in) { return square(in[0]) * stop_gradient(in[1] * in[1]); });
  stopped.differentiable = {0};
  rows.push_back(std::move(stopped));
}

}  // namespace

std::vector<OpRow> elementwise_rows() {
  std::vector<OpRow> rows;
  add_unaries(rows);
  add_binaries(rows);
  add_choices(rows);
  add_passes(rows);
  return rows;
}

}  // namespace rein::test
