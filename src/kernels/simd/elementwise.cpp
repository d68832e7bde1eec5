#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/elementwise_rows.h"
#include "kernels/simd/math-inl.h"
#include "kernels/simd/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

template <Unary kFunction, class D, class V = hn::Vec<D>>
HWY_INLINE V value(D d, V x) {
  if constexpr (kFunction == Unary::neg) {
    return hn::Neg(x);
  } else if constexpr (kFunction == Unary::exp) {
    return exp(d, x);
  } else if constexpr (kFunction == Unary::log) {
    return log(d, x);
  } else if constexpr (kFunction == Unary::sqrt) {
    return hn::Sqrt(x);
  } else if constexpr (kFunction == Unary::square) {
    return hn::Mul(x, x);
  } else if constexpr (kFunction == Unary::abs) {
    return hn::Abs(x);
  } else if constexpr (kFunction == Unary::sign) {
    const V below = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, -1.0f), x);
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f), below);
  } else if constexpr (kFunction == Unary::tanh) {
    return tanh(d, x);
  } else if constexpr (kFunction == Unary::sigmoid) {
    return sigmoid(d, x);
  } else if constexpr (kFunction == Unary::relu) {
    return at_least(d, 0.0f, x);
  } else {
    static_assert(kFunction == Unary::softplus);
    return softplus(d, x);
  }
}

template <Binary kFunction, class D, class V = hn::Vec<D>>
HWY_INLINE V value(D d, V a, V b) {
  if constexpr (kFunction == Binary::add) {
    return hn::Add(a, b);
  } else if constexpr (kFunction == Binary::sub) {
    return hn::Sub(a, b);
  } else if constexpr (kFunction == Binary::mul) {
    return hn::Mul(a, b);
  } else if constexpr (kFunction == Binary::div) {
    return hn::Div(a, b);
  } else if constexpr (kFunction == Binary::maximum) {
    return maximum(a, b);
  } else if constexpr (kFunction == Binary::minimum) {
    return minimum(a, b);
  } else if constexpr (kFunction == Binary::greater) {
    return hn::IfThenElseZero(hn::Gt(a, b), hn::Set(d, 1.0f));
  } else if constexpr (kFunction == Binary::tanh_grad) {
    return hn::Mul(a, hn::NegMulAdd(b, b, hn::Set(d, 1.0f)));
  } else if constexpr (kFunction == Binary::sigmoid_grad) {
    return hn::Mul(a, hn::Mul(b, hn::Sub(hn::Set(d, 1.0f), b)));
  } else {
    static_assert(kFunction == Binary::relu_grad);
    return hn::IfThenElseZero(hn::Gt(b, hn::Zero(d)), a);
  }
}

template <Ternary kFunction, class D, class V = hn::Vec<D>>
HWY_INLINE V value(D d, V a, V b, V c) {
  if constexpr (kFunction == Ternary::clip) {
    return maximum(minimum(a, c), b);
  } else {
    static_assert(kFunction == Ternary::where);
    return hn::IfThenElse(hn::Eq(a, hn::Zero(d)), c, b);
  }
}

template <Unary kFunction>
void map(const float* x, float* y, int64_t count) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(count);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(value<kFunction>(d, hn::LoadU(d, x + i)), d, y + i);
  if (i < n) store_first(value<kFunction>(d, load_first(d, x + i, n - i)), d, y + i, n - i);
}

// One operand within a row: it moves, or one number stands for all.
template <bool kMoves, class D, class V = hn::Vec<D>>
struct Operand {
  const float* p;
  V all;

  HWY_INLINE Operand(D d, const Rows<float>& r, size_t k, int64_t row)
      : p(r.x[k] + row * r.row[k]), all(hn::Set(d, *p)) {}
  HWY_INLINE V at(D d, size_t i) const {
    if constexpr (kMoves) return hn::LoadU(d, p + i);
    return all;
  }
  HWY_INLINE V last(D d, size_t i, size_t n) const {
    if constexpr (kMoves) return load_first(d, p + i, n - i);
    return all;
  }
};

template <Binary kFunction, bool kMovesA, bool kMovesB>
void map(const Rows<float>& r) {
  using D = hn::ScalableTag<float>;
  const D d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(r.n);
  for (int64_t row = 0; row < r.rows; ++row) {
    const Operand<kMovesA, D> a(d, r, 0, row);
    const Operand<kMovesB, D> b(d, r, 1, row);
    float* y = r.y + row * r.n;
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
      hn::StoreU(value<kFunction>(d, a.at(d, i), b.at(d, i)), d, y + i);
    if (i < n) store_first(value<kFunction>(d, a.last(d, i, n), b.last(d, i, n)), d, y + i, n - i);
  }
}

template <Binary kFunction>
void map(const Rows<float>& r) {
  if (r.step[0] == 0) return map<kFunction, false, true>(r);
  if (r.step[1] == 0) return map<kFunction, true, false>(r);
  return map<kFunction, true, true>(r);
}

template <Ternary kFunction, bool kMovesA, bool kMovesB, bool kMovesC>
void map(const Rows<float>& r) {
  using D = hn::ScalableTag<float>;
  const D d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(r.n);
  for (int64_t row = 0; row < r.rows; ++row) {
    const Operand<kMovesA, D> a(d, r, 0, row);
    const Operand<kMovesB, D> b(d, r, 1, row);
    const Operand<kMovesC, D> c(d, r, 2, row);
    float* y = r.y + row * r.n;
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
      hn::StoreU(value<kFunction>(d, a.at(d, i), b.at(d, i), c.at(d, i)), d, y + i);
    if (i < n)
      store_first(value<kFunction>(d, a.last(d, i, n), b.last(d, i, n), c.last(d, i, n)), d, y + i,
                  n - i);
  }
}

template <Ternary kFunction>
void map(const Rows<float>& r) {
  switch (r.step[0] * 4 + r.step[1] * 2 + r.step[2]) {
    case 0b001:
      return map<kFunction, false, false, true>(r);
    case 0b010:
      return map<kFunction, false, true, false>(r);
    case 0b011:
      return map<kFunction, false, true, true>(r);
    case 0b100:
      return map<kFunction, true, false, false>(r);
    case 0b101:
      return map<kFunction, true, false, true>(r);
    case 0b110:
      return map<kFunction, true, true, false>(r);
    default:
      return map<kFunction, true, true, true>(r);
  }
}

void run_unary(Unary f, const float* x, float* y, int64_t n) {
  switch (f) {
    case Unary::neg:
      return map<Unary::neg>(x, y, n);
    case Unary::exp:
      return map<Unary::exp>(x, y, n);
    case Unary::log:
      return map<Unary::log>(x, y, n);
    case Unary::sqrt:
      return map<Unary::sqrt>(x, y, n);
    case Unary::square:
      return map<Unary::square>(x, y, n);
    case Unary::abs:
      return map<Unary::abs>(x, y, n);
    case Unary::sign:
      return map<Unary::sign>(x, y, n);
    case Unary::tanh:
      return map<Unary::tanh>(x, y, n);
    case Unary::sigmoid:
      return map<Unary::sigmoid>(x, y, n);
    case Unary::relu:
      return map<Unary::relu>(x, y, n);
    case Unary::softplus:
      return map<Unary::softplus>(x, y, n);
  }
}

void run_binary(Binary f, const Rows<float>& rows) {
  switch (f) {
    case Binary::add:
      return map<Binary::add>(rows);
    case Binary::sub:
      return map<Binary::sub>(rows);
    case Binary::mul:
      return map<Binary::mul>(rows);
    case Binary::div:
      return map<Binary::div>(rows);
    case Binary::maximum:
      return map<Binary::maximum>(rows);
    case Binary::minimum:
      return map<Binary::minimum>(rows);
    case Binary::greater:
      return map<Binary::greater>(rows);
    case Binary::tanh_grad:
      return map<Binary::tanh_grad>(rows);
    case Binary::sigmoid_grad:
      return map<Binary::sigmoid_grad>(rows);
    case Binary::relu_grad:
      return map<Binary::relu_grad>(rows);
  }
}

void run_ternary(Ternary f, const Rows<float>& rows) {
  switch (f) {
    case Ternary::clip:
      return map<Ternary::clip>(rows);
    case Ternary::where:
      return map<Ternary::where>(rows);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels::simd {

using namespace rein::kernels;  // where the functions of each target are

HWY_EXPORT(run_unary);
HWY_EXPORT(run_binary);
HWY_EXPORT(run_ternary);

void unary(Unary f, const float* x, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(run_unary)(f, x, y, n);
}
void binary(Binary f, const Rows<float>& rows) noexcept {
  HWY_DYNAMIC_DISPATCH(run_binary)(f, rows);
}
void ternary(Ternary f, const Rows<float>& rows) noexcept {
  HWY_DYNAMIC_DISPATCH(run_ternary)(f, rows);
}

}  // namespace rein::kernels::simd
#endif
