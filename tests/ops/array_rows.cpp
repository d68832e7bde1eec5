#include "battery.h"

namespace rein::test {

std::vector<OpRow> array_rows() {
  using In = std::span<const Value>;
  std::vector<OpRow> rows;
  auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  add({.name = "reduce_sum all", .inputs = {{3, 5}}, .build = [](In in) {
         return reduce_sum(in[0]);
       }});
  return rows;
}

}  // namespace rein::test
