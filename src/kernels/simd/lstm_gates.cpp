// clang-format off: the order matters
#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/lstm_gates.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd/math-inl.h"
#include "kernels/simd/tail-inl.h"
// clang-format on

#include "kernels/lstm_gates.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// All lanes, or the first n of them.
struct Full {
  V load(const float* p) const { return hn::LoadU(D(), p); }
  void store(V v, float* p) const { hn::StoreU(v, D(), p); }
};
struct First {
  size_t n;
  V load(const float* p) const { return load_first(D(), p, n); }
  void store(V v, float* p) const { store_first(v, D(), p, n); }
};

// `body(lanes, unit)` over the units of a row.
template <class Body>
HWY_INLINE void for_units(int64_t units, Body body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t u = 0;
  for (; u + lanes <= units; u += lanes) body(Full{}, u);
  if (u < units) body(First{static_cast<size_t>(units - u)}, u);
}

void forward(int64_t rows, int64_t units, const GatesForward& p) {
  const D d;
  const V forget_bias = hn::Set(d, p.forget_bias);
  for (int64_t row = 0; row < rows; ++row) {
    float* gates = p.gates + row * 4 * units;
    const int64_t at = row * units;
    for_units(units, [&](auto lanes, int64_t u) HWY_ATTR {
      const auto sum = [&](int64_t gate) HWY_ATTR {
        return hn::Add(lanes.load(gates + gate * units + u), lanes.load(p.bias + gate * units + u));
      };
      const V i = sigmoid(d, sum(0));
      const V j = tanh(d, sum(1));
      const V f = sigmoid(d, hn::Add(sum(2), forget_bias));
      const V o = sigmoid(d, sum(3));
      const V c = hn::MulAdd(lanes.load(p.c_before + at + u), f, hn::Mul(i, j));
      lanes.store(i, gates + u);
      lanes.store(j, gates + units + u);
      lanes.store(f, gates + 2 * units + u);
      lanes.store(o, gates + 3 * units + u);
      lanes.store(c, p.c + at + u);
      lanes.store(hn::Mul(tanh(d, c), o), p.h + at + u);
    });
  }
}

void backward(int64_t rows, int64_t units, const GatesBackward& p) {
  const D d;
  const V one = hn::Set(d, 1.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const float* gates = p.gates + row * 4 * units;
    float* dz = p.dz + row * 4 * units;
    const int64_t at = row * units;
    for_units(units, [&](auto lanes, int64_t u) HWY_ATTR {
      const V i = lanes.load(gates + u), j = lanes.load(gates + units + u);
      const V f = lanes.load(gates + 2 * units + u), o = lanes.load(gates + 3 * units + u);
      const V tanh_c = tanh(d, lanes.load(p.c + at + u));
      V dh = lanes.load(p.dh + at + u);
      if (p.d_outputs) dh = hn::Add(dh, lanes.load(p.d_outputs + at + u));
      const V dc =
          hn::MulAdd(hn::Mul(dh, o), hn::NegMulAdd(tanh_c, tanh_c, one), lanes.load(p.dc + at + u));
      // s (1 - s) is the derivative of a sigmoid s, 1 - t^2 that of a tanh t.
      const auto put = [&](int64_t gate, V v) HWY_ATTR {
        float* sum = p.dbias + gate * units + u;
        lanes.store(v, dz + gate * units + u);
        lanes.store(hn::Add(lanes.load(sum), v), sum);
      };
      put(0, hn::Mul(hn::Mul(dc, j), hn::NegMulAdd(i, i, i)));
      put(1, hn::Mul(hn::Mul(dc, i), hn::NegMulAdd(j, j, one)));
      put(2, hn::Mul(hn::Mul(dc, lanes.load(p.c_before + at + u)), hn::NegMulAdd(f, f, f)));
      put(3, hn::Mul(hn::Mul(dh, tanh_c), hn::NegMulAdd(o, o, o)));
      lanes.store(hn::Mul(dc, f), p.dc + at + u);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels {

namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward);
}  // namespace

void lstm_gates_forward(int64_t rows, int64_t units, const GatesForward& p) noexcept {
  HWY_DYNAMIC_DISPATCH(forward)(rows, units, p);
}

void lstm_gates_backward(int64_t rows, int64_t units, const GatesBackward& p) noexcept {
  HWY_DYNAMIC_DISPATCH(backward)(rows, units, p);
}

}  // namespace rein::kernels
#endif
