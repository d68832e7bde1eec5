// The plain twin: what each function means, one element at a time.
#include <cmath>

#include "kernels/elementwise_rows.h"

namespace rein::kernels::ref {
namespace {

template <class T, class F>
void map(const T* x, T* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

template <class T, class F>
void map2(const Rows<T>& r, F f) {
  for (int64_t row = 0; row < r.rows; ++row) {
    const T *a = r.x[0] + row * r.row[0], *b = r.x[1] + row * r.row[1];
    T* y = r.y + row * r.n;
    for (int64_t i = 0; i < r.n; ++i) y[i] = f(a[i * r.step[0]], b[i * r.step[1]]);
  }
}

template <class T, class F>
void map3(const Rows<T>& r, F f) {
  for (int64_t row = 0; row < r.rows; ++row) {
    const T *a = r.x[0] + row * r.row[0], *b = r.x[1] + row * r.row[1],
            *c = r.x[2] + row * r.row[2];
    T* y = r.y + row * r.n;
    for (int64_t i = 0; i < r.n; ++i)
      y[i] = f(a[i * r.step[0]], b[i * r.step[1]], c[i * r.step[2]]);
  }
}

template <class T>
T sigmoid(T x) {
  const T e = std::exp(-std::abs(x));  // at most 1: nothing overflows
  return (x < 0 ? e : 1) / (1 + e);
}
template <class T>
T softplus(T x) {
  return (x < 0 ? 0 : x) + std::log1p(std::exp(-std::abs(x)));
}
// Both give NaN if either is.
template <class T>
T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}
template <class T>
T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}

}  // namespace

template <class T>
void unary(Unary f, const T* x, T* y, int64_t n) noexcept {
  switch (f) {
    case Unary::neg:
      return map(x, y, n, [](T v) { return -v; });
    case Unary::exp:
      return map(x, y, n, [](T v) { return std::exp(v); });
    case Unary::log:
      return map(x, y, n, [](T v) { return std::log(v); });
    case Unary::sqrt:
      return map(x, y, n, [](T v) { return std::sqrt(v); });
    case Unary::square:
      return map(x, y, n, [](T v) { return v * v; });
    case Unary::abs:
      return map(x, y, n, [](T v) { return std::abs(v); });
    case Unary::sign:
      return map(x, y, n, [](T v) { return v > 0 ? T{1} : v < 0 ? T{-1} : v; });
    case Unary::tanh:
      return map(x, y, n, [](T v) { return std::tanh(v); });
    case Unary::sigmoid:
      return map(x, y, n, [](T v) { return sigmoid(v); });
    case Unary::relu:
      return map(x, y, n, [](T v) { return T{0} > v ? T{0} : v; });
    case Unary::softplus:
      return map(x, y, n, [](T v) { return softplus(v); });
  }
}

template <class T>
void binary(Binary f, const Rows<T>& rows) noexcept {
  switch (f) {
    case Binary::add:
      return map2(rows, [](T a, T b) { return a + b; });
    case Binary::sub:
      return map2(rows, [](T a, T b) { return a - b; });
    case Binary::mul:
      return map2(rows, [](T a, T b) { return a * b; });
    case Binary::div:
      return map2(rows, [](T a, T b) { return a / b; });
    case Binary::maximum:
      return map2(rows, [](T a, T b) { return maximum(a, b); });
    case Binary::minimum:
      return map2(rows, [](T a, T b) { return minimum(a, b); });
    case Binary::greater:
      return map2(rows, [](T a, T b) { return a > b ? T{1} : T{0}; });
    case Binary::tanh_grad:
      return map2(rows, [](T dy, T y) { return dy * (1 - y * y); });
    case Binary::sigmoid_grad:
      return map2(rows, [](T dy, T y) { return dy * (y * (1 - y)); });
    case Binary::relu_grad:
      return map2(rows, [](T dy, T y) { return y > 0 ? dy : T{0}; });
  }
}

template <class T>
void ternary(Ternary f, const Rows<T>& rows) noexcept {
  switch (f) {
    case Ternary::clip:
      return map3(rows, [](T x, T lo, T hi) { return maximum(minimum(x, hi), lo); });
    case Ternary::where:
      return map3(rows, [](T condition, T a, T b) { return condition != 0 ? a : b; });
  }
}

template void unary(Unary, const float*, float*, int64_t) noexcept;
template void unary(Unary, const double*, double*, int64_t) noexcept;
template void binary(Binary, const Rows<float>&) noexcept;
template void binary(Binary, const Rows<double>&) noexcept;
template void ternary(Ternary, const Rows<float>&) noexcept;
template void ternary(Ternary, const Rows<double>&) noexcept;

}  // namespace rein::kernels::ref
