// Activations of many gates side by side. One takes a chain of two dozen operations, more than a
// processor looks ahead over several: so each part is done for all before the next.
#if defined(REIN_KERNELS_SIMD_LSTM_GATES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REIN_KERNELS_SIMD_LSTM_GATES_INL_H_
#undef REIN_KERNELS_SIMD_LSTM_GATES_INL_H_
#else
#define REIN_KERNELS_SIMD_LSTM_GATES_INL_H_
#endif

#include "kernels/simd/math-inl.h"
#include "kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {

template <int N>
HWY_INLINE void tanh_all(Vector (&x)[N]) {
  const Floats d;
  Vector n[N], r[N];
  for (int i = 0; i < N; ++i) n[i] = begin_tanh(d, x[i], r[i]);
  for (int i = 0; i < N; ++i) r[i] = expm1_near_0(d, r[i]);
  for (int i = 0; i < N; ++i) x[i] = end_tanh(d, x[i], n[i], r[i]);
}

/// Gates i, j, f, o of one row after the other: tanh for j, sigmoid for the others.
template <int N>
HWY_INLINE void activate_all(Vector (&z)[N]) {
  const Floats d;
  Vector n[N], r[N];
  for (int i = 0; i < N; ++i)
    n[i] = i % 4 == 1 ? begin_tanh(d, z[i], r[i]) : begin_sigmoid(d, z[i], r[i]);
  for (int i = 0; i < N; ++i) r[i] = expm1_near_0(d, r[i]);
  for (int i = 0; i < N; ++i)
    z[i] = i % 4 == 1 ? end_tanh(d, z[i], n[i], r[i]) : end_sigmoid(d, z[i], n[i], r[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard of the current target
