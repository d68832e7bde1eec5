#include "battery.h"
#include "rein/nn/clip.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;

OpRow matmul_row(std::string name, Shape a, Shape b, MatMulOptions options) {
  return {.name = "matmul " + name, .inputs = {a, b}, .build = [=](In in) {
            return matmul(in[0], in[1], options);
          }};
}

// An LSTM over 4 steps: x, kernel, bias, h, c; the scalar is taken of what `pick` makes of the
// result.
OpRow lstm_row(std::string name, std::function<Value(const LstmResult&)> pick,
               std::set<size_t> differentiable = {}) {
  const int64_t steps = 4, batch = 3, inputs = 2, units = 5;
  return {.name = "lstm " + name,
          .inputs = {{steps, batch, inputs},
                     {inputs + units, 4 * units},
                     {4 * units},
                     {batch, units},
                     {batch, units}},
          .build =
              [=](In in) {
                return pick(lstm(in[0], in[1], in[2], in[3], in[4], {.forget_bias = 0.5}));
              },
          .differentiable = std::move(differentiable),
          .second_order = false};
}

// Limits that nothing reaches: a clipped gradient is no derivative. tests/nn/step_clip_test.cpp
// has those that bind.
constexpr double kFar = 1e6;

OpRow clipped_lstm_row() {
  OpRow row = lstm_row("with limits", {});
  row.build = [](In in) {
    return lstm(in[0], in[1], in[2], in[3], in[4],
                {.cell_clip = kFar, .step_clip = {.gates = kFar, .state = kFar}})
        .outputs;
  };
  return row;
}

Value all_of(const LstmResult& r) {
  const Value last[] = {r.h, r.c};
  const Value parts[] = {r.outputs, stack(last)};
  return concat(parts);
}

}  // namespace

std::vector<OpRow> product_rows() {
  return {
      matmul_row("plain", {3, 4}, {4, 5}, {}),
      matmul_row("a transposed", {4, 3}, {4, 5}, {.transpose_a = true}),
      matmul_row("b transposed", {3, 4}, {5, 4}, {.transpose_b = true}),
      matmul_row("both transposed", {4, 3}, {5, 4}, {.transpose_a = true, .transpose_b = true}),
      matmul_row("no rows", {0, 4}, {4, 5}, {}),
      matmul_row("inner size 0", {3, 0}, {0, 5}, {}),
      matmul_row("several tiles of rows", {300, 130}, {130, 70}, {}),
      matmul_row("several tiles of columns", {40, 200}, {600, 200}, {.transpose_b = true}),
      lstm_row("outputs", [](const LstmResult& r) { return r.outputs; }),
      lstm_row("last output alone", [](const LstmResult& r) { return r.h; }),
      lstm_row("last cell alone", [](const LstmResult& r) { return r.c; }),
      lstm_row("outputs, h and c", all_of),
      lstm_row("weights alone", all_of, {1, 2}),
      lstm_row("x alone", all_of, {0}),
      lstm_row("first state alone", all_of, {3, 4}),
      lstm_row("bias alone", [](const LstmResult& r) { return r.h; }, {2}),
      clipped_lstm_row(),
      {.name = "clip_gradient_by_value",
       .inputs = {{3, 4}},
       .build = [](In in) { return square(clip_gradient_by_value(in[0], kFar)); }},
      {.name = "clip_gradient_by_row_norm",
       .inputs = {{3, 4}, {3, 2}},
       .build =
           [](In in) {
             const Values same = clip_gradient_by_row_norm(in, kFar);
             return concat(std::vector<Value>{square(same[0]), same[1]}, {.axis = 1});
           }},
      {.name = "straight_through",
       .inputs = {{3, 4}},
       .build = [](In in) { return square(straight_through(in[0] * 1.0, in[0])); }},
      {.name = "lstm several tiles",
       .inputs = {{20, 64, 9}, {9 + 32, 128}, {128}, {64, 32}, {64, 32}},
       .build = [](In in) { return all_of(lstm(in[0], in[1], in[2], in[3], in[4])); },
       // Small weights: otherwise twenty steps bend so much that the quotient is no judge.
       .map = [](size_t input, double x) { return input == 1 ? 0.05 * x : x; },
       .second_order = false},
  };
}

}  // namespace rein::test
