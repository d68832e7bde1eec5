#include "battery.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;

OpRow matmul_row(std::string name, Shape a, Shape b, MatMulOptions options) {
  return {.name = "matmul " + name, .inputs = {a, b}, .build = [=](In in) {
            return matmul(in[0], in[1], options);
          }};
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
  };
}

}  // namespace rein::test
