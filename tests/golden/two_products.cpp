// A test of the test: golden_test with an emulation of bf16x3, in the place of the library's, that
// can leave out one of the three products.
//
//     REIN_LEAVE_OUT=none|low_high|high_high|high_low golden_two_products --prefix network/
//     --bf16x3
#include <bit>
#include <cstdlib>
#include <string_view>

#include "kernels/tile_product.h"

namespace rein::kernels {
namespace {

// One step of a row of 16 pairs and a column.
float add_step(float sum, const Pair* a, const Pair* b) {
  const auto first = [](Pair p) { return std::bit_cast<float>(p << 16); };
  const auto second = [](Pair p) { return std::bit_cast<float>(p & 0xffff0000u); };
  float even = 0, odd = 0;
  for (int64_t j = 0; j < kTile; ++j) {  // these products are exact: no rounding but that of sums
    even += first(a[j]) * first(b[j * kBlock]);
    odd += second(a[j]) * second(b[j * kBlock]);
  }
  return sum + (even + odd);
}

}  // namespace

void TileUnit::emulate(NarrowUnit, const TileProduct& p) {
  static const char* const setting = std::getenv("REIN_LEAVE_OUT");
  static const std::string_view left_out = setting ? setting : "none";
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t column = 0; column < kBlock; ++column) {
      float& sum = p.c[row * p.c_row + column];
      if (!p.add) sum = 0;
      for (int64_t step = 0; step < p.steps; ++step) {
        const Pair* a = p.a + (row / kTile) * p.a_lower + (row % kTile) * p.a_row +
                        step / 2 * p.a_two + step % 2 * p.a_step;
        const Pair* b = p.b + step * kStepPairs + column;
        if (left_out != "low_high") sum = add_step(sum, a + p.a_low, b);
        if (left_out != "high_high") sum = add_step(sum, a, b);
        if (left_out != "high_low") sum = add_step(sum, a, b + p.b_low);
      }
    }
}

}  // namespace rein::kernels
