// The last elements of an array, when fewer are left than a vector holds.
#include <hwy/highway.h>

#include <cstddef>

#if defined(REIN_KERNELS_SIMD_TAIL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_TAIL_INL_H_
#undef REIN_KERNELS_SIMD_TAIL_INL_H_
#else
#define REIN_KERNELS_SIMD_TAIL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Masked loads and stores leave memory outside the mask alone only where the processor has them.
#if HWY_TARGET <= HWY_AVX2

/// p[0, n) and zeros; n less than the lanes of d. Touches nothing past n.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, size_t n) {
  return hn::MaskedLoad(hn::FirstN(d, n), d, p);
}
/// The first n lanes of v to p. Touches nothing past n.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(hn::Vec<D> v, D d, T* p, size_t n) {
  hn::BlendedStore(v, hn::FirstN(d, n), d, p);
}

#else

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, size_t n) {
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  for (size_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(hn::Vec<D> v, D d, T* p, size_t n) {
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
