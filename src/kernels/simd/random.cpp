#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/random.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kernels/elementwise_rows.h"
#include "kernels/simd/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

void compare_bits(const RandomStream& random, uint64_t bound, int64_t first, uint32_t* flags,
                  int64_t n) {
  for (int64_t i = 0; i < n; ++i) flags[i] = random.bits(static_cast<uint64_t>(first + i)) >= bound;
}

#else

using D32 = hn::ScalableTag<uint32_t>;
using D64 = hn::Repartition<uint64_t, D32>;
using V64 = hn::Vec<D64>;

// The words of `philox` (rein/base/random.h), each in the lower half of a lane of 64 bits; the
// upper halves hold anything.
struct Philox {
  V64 x0, x1, x2, x3;

  HWY_INLINE Philox(V64 index, uint64_t stream)
      : x0(index),
        x1(hn::ShiftRight<32>(index)),
        x2(hn::Set(D64(), stream)),
        x3(hn::Set(D64(), stream >> 32)) {}

  HWY_INLINE void round(V64 key0, V64 key1) {
    const D32 d32;
    const V64 a = hn::MulEven(hn::BitCast(d32, x0), hn::Set(d32, 0xD2511F53));
    const V64 b = hn::MulEven(hn::BitCast(d32, x2), hn::Set(d32, 0xCD9E8D57));
    x0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(b), x1), key0);
    x1 = b;
    x2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(a), x3), key1);
    x3 = a;
  }
};

// Lower halves of even and odd lanes, one behind the other.
HWY_INLINE hn::Vec<D32> interleave(V64 even, V64 odd) {
  return hn::OddEven(hn::BitCast(D32(), hn::ShiftLeft<32>(odd)), hn::BitCast(D32(), even));
}

void compare_bits(const RandomStream& random, uint64_t bound, int64_t first, uint32_t* flags,
                  int64_t count) {
  const D32 d32;
  const D64 d64;
  const size_t n = static_cast<size_t>(count), lanes = hn::Lanes(d32);
  const auto least_high = hn::Set(d32, static_cast<uint32_t>(bound >> 32));
  const auto least_low = hn::Set(d32, static_cast<uint32_t>(bound));
  const V64 twice = hn::ShiftLeft<1>(hn::Iota(d64, 0));
  for (size_t i = 0; i < n; i += lanes) {
    const V64 index = hn::Add(hn::Set(d64, static_cast<uint64_t>(first) + i), twice);
    Philox even(index, random.stream());
    Philox odd(hn::Add(index, hn::Set(d64, 1)), random.stream());
    V64 key0 = hn::Set(d64, random.seed()), key1 = hn::Set(d64, random.seed() >> 32);
    for (int round = 0; round < 10; ++round) {
      even.round(key0, key1);
      odd.round(key0, key1);
      key0 = hn::Add(key0, hn::Set(d64, 0x9E3779B9));
      key1 = hn::Add(key1, hn::Set(d64, 0xBB67AE85));
    }
    const auto high = interleave(even.x0, odd.x0), low = interleave(even.x1, odd.x1);
    const auto below =
        hn::Or(hn::Lt(high, least_high), hn::And(hn::Eq(high, least_high), hn::Lt(low, least_low)));
    const auto flag = hn::IfThenZeroElse(below, hn::Set(d32, 1));
    if (i + lanes <= n)
      hn::StoreU(flag, d32, flags + i);
    else
      store_first(flag, d32, flags + i, n - i);
  }
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels::simd {

using namespace rein::kernels;  // where the functions of each target are

HWY_EXPORT(compare_bits);

void uniform_at_least(const RandomStream& random, double bound, int64_t first, uint32_t* flags,
                      int64_t n) noexcept {
  // A uniform number is the upper 53 of 64 random bits, times 2^-53.
  const auto bits = static_cast<uint64_t>(std::ceil(std::ldexp(bound, 53))) << 11;
  HWY_DYNAMIC_DISPATCH(compare_bits)(random, bits, first, flags, n);
}

}  // namespace rein::kernels::simd
#endif
