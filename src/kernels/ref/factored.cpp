#include "rein/kernels/factored.h"

#include <algorithm>
#include <cmath>

#include "rein/kernels/update.h"

namespace rein::kernels {
namespace {

template <class T>
double squares(const T* x, double* sums, size_t n) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    const double square = static_cast<double>(x[i]) * static_cast<double>(x[i]);
    sums[i] += square;
    total += square;
  }
  return total;
}

template <class T>
T divided(T x, const RowFactors<T>& f, size_t i) noexcept {
  const T u = x * f.row * f.columns[i], bound = std::abs(x) * f.most;
  return f.bounded ? std::max(std::min(u, bound), -bound) : u;
}

template <class T>
double divided_squares(const T* x, const RowFactors<T>& f, size_t n) noexcept {
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    const auto u = static_cast<double>(divided(x[i], f, i));
    total += u * u;
  }
  return total;
}

template <class T>
void delta(const T* x, const RowFactors<T>& f, double a, double b, const T* w, T* out,
           size_t n) noexcept {
  const T of_u = static_cast<T>(a), of_w = static_cast<T>(b);
  for (size_t i = 0; i < n; ++i) out[i] = of_u * divided(x[i], f, i) + of_w * w[i];
}

template <class T>
void update(const T* x, const RowFactors<T>& f, double a, double b, T* w, size_t n) noexcept {
  const T of_u = static_cast<T>(a), of_w = static_cast<T>(b);
  for (size_t i = 0; i < n; ++i) w[i] += of_u * divided(x[i], f, i) + of_w * w[i];
}

}  // namespace

double ref::row_squares(float* x, double scale, double* sums, size_t n) noexcept {
  ref::scale_into(x, scale, x, n);
  return squares(x, sums, n);
}
double row_squares(double* x, double scale, double* sums, size_t n) noexcept {
  scale_into(x, scale, x, n);
  return squares(x, sums, n);
}
double ref::factored_squares(const float* x, const RowFactors<float>& f, size_t n) noexcept {
  return divided_squares(x, f, n);
}
double factored_squares(const double* x, const RowFactors<double>& f, size_t n) noexcept {
  return divided_squares(x, f, n);
}
void ref::factored_delta(const float* x, const RowFactors<float>& f, double a, double b,
                         const float* w, float* out, size_t n) noexcept {
  delta(x, f, a, b, w, out, n);
}
void factored_delta(const double* x, const RowFactors<double>& f, double a, double b,
                    const double* w, double* out, size_t n) noexcept {
  delta(x, f, a, b, w, out, n);
}
void ref::factored_update(const float* x, const RowFactors<float>& f, double a, double b, float* w,
                          size_t n) noexcept {
  update(x, f, a, b, w, n);
}
void factored_update(const double* x, const RowFactors<double>& f, double a, double b, double* w,
                     size_t n) noexcept {
  update(x, f, a, b, w, n);
}

}  // namespace rein::kernels
