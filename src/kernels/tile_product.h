// The one product that all narrow products are made of: up to 32 rows by 32 columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rein/kernels/precision.h"

namespace rein::kernels {

/// Two bfloat16 numbers that are multiplied one after the other, the first in the lower half.
using Pair = uint32_t;

constexpr int64_t kTile = 16;          // rows, columns, or pairs along k, of a hardware tile
constexpr int64_t kBlock = 2 * kTile;  // rows or columns of a product
constexpr int64_t kDepth = 2 * kTile;  // numbers along k that one step takes
constexpr int64_t kStepPairs = kTile * kBlock;  // of b in one step

/// How many pieces of `size` n takes, the last one shorter.
constexpr int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/// c [rows, 32] = a [rows, k] b [k, 32], added to what c holds if `add`. All k numbers come in
/// `steps` of 32. Sums run over the steps, k rising, each number multiplied and added in one
/// rounding, denormals being zeros (Intel, Software Developer's Manual, volume 2):
/// - amx, TDPBF16PS: a step adds up its even numbers, and its odd ones, then both sums, this to c;
/// - avx512_bf16, VDPBF16PS: of each pair, c takes the odd number, then the even one.
/// With low parts, each step adds low high, high high and high low in this order.
struct TileProduct {
  const Pair* a = nullptr;    // rows of 16 pairs for step 0
  int64_t a_row = 0;          // distances in pairs: of one row from the one before,
  int64_t a_lower = 0;        // of row 16 from row 0,
  int64_t a_step = kTile;     // of an odd step from the even one before it,
  int64_t a_two = 2 * kTile;  // of an even step from the even one before it,
  int64_t a_low = 0;          // of the low parts; 0: there are none
  const Pair* b = nullptr;    // [steps][16][32]
  int64_t b_low = 0;
  int64_t steps = 0;
  float* c = nullptr;
  int64_t c_row = kBlock;
  int rows = kBlock;
  bool add = false;
};

/// What multiplies, on one thread, while it lives: a unit of the processor, or vector code.
class TileUnit final {
 public:
  explicit TileUnit(const ProductOptions& products)
      : unit_(unit_of(products)), emulated_(products.emulated) {}
  ~TileUnit();
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  void multiply(const TileProduct& p) {
    if (emulated_) return emulate(unit_, p);
    if (unit_ == NarrowUnit::avx512_bf16) return multiply_pairs(p);
    if (p.rows != rows_) configure(p.rows);
    multiply_tiles(p);
  }

 private:
  static void emulate(NarrowUnit unit, const TileProduct& p);
  static void multiply_pairs(const TileProduct& p);
  static void multiply_tiles(const TileProduct& p);
  void configure(int rows);

  NarrowUnit unit_;
  bool emulated_;
  int rows_ = 0;  // that AMX is configured for
};

}  // namespace rein::kernels
