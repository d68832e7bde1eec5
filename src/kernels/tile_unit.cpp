// The matrix unit of Intel's processors (AMX).
#include <immintrin.h>

#include <algorithm>
#include <array>

#include "kernels/tile_product.h"

namespace rein::kernels {
namespace {

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  std::array<uint8_t, 14> reserved{};
  std::array<uint16_t, 16> row_bytes{};
  std::array<uint8_t, 16> rows{};
};

// Tiles 0 to 3 are c, 4 and 5 the rows of a, 6 and 7 the columns of b.
template <bool lower, bool split>
__attribute__((target("amx-tile,amx-bf16"))) void run(const TileProduct& p) {
  constexpr auto bytes = [](int64_t n) { return n * static_cast<int64_t>(sizeof(Pair)); };
  const int64_t a_row = bytes(p.a_row), b_row = bytes(kBlock), c_row = bytes(p.c_row);
  float* c_lower = p.c + kTile * p.c_row;
  if (p.add) {
    _tile_loadd(0, p.c, c_row);
    _tile_loadd(1, p.c + kTile, c_row);
    if constexpr (lower) {
      _tile_loadd(2, c_lower, c_row);
      _tile_loadd(3, c_lower + kTile, c_row);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (lower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  const Pair *b = p.b, *even = p.a;
  for (int64_t step = 0; step < p.steps; ++step, b += kStepPairs) {
    const Pair* a = step % 2 == 0 ? even : even + p.a_step;
    if (step % 2 == 1) even += p.a_two;
    const Pair* first = split ? a + p.a_low : a;
    _tile_loadd(6, b, b_row);
    _tile_loadd(7, b + kTile, b_row);
    _tile_loadd(4, first, a_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (lower) {
      _tile_loadd(5, first + p.a_lower, a_row);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    if constexpr (split) {
      _tile_loadd(4, a, a_row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (lower) {
        _tile_loadd(5, a + p.a_lower, a_row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_loadd(6, b + p.b_low, b_row);
      _tile_loadd(7, b + p.b_low + kTile, b_row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (lower) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
  }
  _tile_stored(0, p.c, c_row);
  _tile_stored(1, p.c + kTile, c_row);
  if constexpr (lower) {
    _tile_stored(2, c_lower, c_row);
    _tile_stored(3, c_lower + kTile, c_row);
  }
}

__attribute__((target("amx-tile"))) void load_configuration(const TileConfiguration& c) {
  // g++ 12 believes that the instruction reads eight bytes of it.
  asm volatile("" : : "r"(&c) : "memory");
  _tile_loadconfig(&c);
}

__attribute__((target("amx-tile"))) void release_tiles() { _tile_release(); }

}  // namespace

TileUnit::~TileUnit() {
  if (rows_ > 0) release_tiles();
}

void TileUnit::configure(int rows) {
  const auto upper = static_cast<uint8_t>(std::min<int>(rows, kTile));
  const auto lower = static_cast<uint8_t>(std::max<int>(1, rows - static_cast<int>(kTile)));
  TileConfiguration c;
  std::fill_n(c.row_bytes.begin(), 8, uint16_t{64});
  c.rows = {upper, upper, lower, lower, upper, lower, kTile, kTile};
  load_configuration(c);
  rows_ = rows;
}

void TileUnit::multiply_tiles(const TileProduct& p) {
  const bool split = p.a_low != 0;
  if (p.rows > kTile)
    split ? run<true, true>(p) : run<true, false>(p);
  else
    split ? run<false, true>(p) : run<false, false>(p);
}

}  // namespace rein::kernels
