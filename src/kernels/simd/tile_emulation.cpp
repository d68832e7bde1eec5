// What the units for narrow products compute, to the bit, in vector code.
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/tile_emulation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <xmmintrin.h>

#include "kernels/simd/bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

// One step of one row and one vector of columns, in the order of each unit.
HWY_INLINE Vector add_tile(Vector sum, const Pair* a, const Pair* b) {
  const Floats d;
  Vector even = hn::Zero(d), odd = hn::Zero(d);
  for (int64_t j = 0; j < kTile; ++j) {
    const auto x = hn::Set(Words(), a[j]), y = hn::LoadU(Words(), b + j * kBlock);
    even = hn::MulAdd(first_of(x), first_of(y), even);
    odd = hn::MulAdd(second_of(x), second_of(y), odd);
  }
  return hn::Add(sum, hn::Add(even, odd));
}
HWY_INLINE Vector add_pairs(Vector sum, const Pair* a, const Pair* b) {
  for (int64_t j = 0; j < kTile; ++j) {
    const auto x = hn::Set(Words(), a[j]), y = hn::LoadU(Words(), b + j * kBlock);
    sum = hn::MulAdd(second_of(x), second_of(y), sum);
    sum = hn::MulAdd(first_of(x), first_of(y), sum);
  }
  return sum;
}

}  // namespace

void Emulate(NarrowUnit unit, const TileProduct& p) {
  const Floats d;
  const auto add_step = [&](Vector sum, const Pair* a, const Pair* b) HWY_ATTR {
    return unit == NarrowUnit::amx ? add_tile(sum, a, b) : add_pairs(sum, a, b);
  };
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t column = 0; column < kBlock; column += kLanes) {
      float* c = p.c + row * p.c_row + column;
      Vector sum = p.add ? hn::LoadU(d, c) : hn::Zero(d);
      for (int64_t step = 0; step < p.steps; ++step) {
        const Pair* a = p.a + (row / kTile) * p.a_lower + (row % kTile) * p.a_row +
                        step / 2 * p.a_two + step % 2 * p.a_step;
        const Pair* b = p.b + step * kStepPairs + column;
        if (p.a_low != 0) sum = add_step(sum, a + p.a_low, b);
        sum = add_step(sum, a, b);
        if (p.a_low != 0) sum = add_step(sum, a, b + p.b_low);
      }
      hn::StoreU(sum, d, c);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {
namespace {
HWY_EXPORT(Emulate);
}  // namespace

void TileUnit::emulate(NarrowUnit unit, const TileProduct& p) {
  constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;  // as the units do
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | kFlushToZero | kDenormalsAreZero);
  HWY_DYNAMIC_DISPATCH(Emulate)(unit, p);
  _mm_setcsr(before);
}

}  // namespace rein::kernels
#endif
