// Sums and factors of slices.
#pragma once

#include <cmath>
#include <span>

#include "rein/kernels/norm.h"
#include "rein/kernels/update.h"
#include "rein/process/slices.h"

namespace rein {

/// Adds f(x) to the sum of each slice, which begin at 0.
template <class T, class A, class F>
void add_to_slices(const Slicing& slicing, std::span<const T> x, std::span<A> sums, F f) {
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 1) {
      for (size_t j = 0; j < n; ++j) sums[slice + j] += f(x[i + j]);
    } else {
      A sum = 0;
      for (size_t j = 0; j < n; ++j) sum += f(x[i + j]);
      sums[slice] += sum;
    }
  });
}

/// The safe L2 norm of each slice.
void slice_norms(const Slicing& slicing, std::span<const float> x, std::span<double> norms);
void slice_norms(const Slicing& slicing, std::span<const double> x, std::span<double> norms);

/// Multiplies each element by the factor of its slice; those of factor 1 keep their bits.
template <class T>
void scale_slices(const Slicing& slicing, std::span<T> x, std::span<const double> factors) {
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 0) {
      if (factors[slice] != 1) kernels::scale_into(&x[i], factors[slice], &x[i], n);
      return;
    }
    kernels::scale_each(&factors[slice], &x[i], n);
  });
}

}  // namespace rein
