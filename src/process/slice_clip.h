// Clipping each slice by its norm.
#pragma once

#include <vector>

#include "process/reference.h"
#include "process/slices.h"

namespace rein {

/// The reference's formula on each slice, in place. Whether it clipped any.
template <class T>
bool clip_slices_as(Semantics semantics, const Slicing& slicing, std::span<T> x, double clip_norm) {
  std::vector<T> sums(slicing.count(), T{0});
  add_to_slices(slicing, std::span<const T>(x), std::span<T>(sums), [](T v) { return v * v; });
  bool clipped = false;
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    const size_t of_one = step == 0 ? n : 1;
    for (size_t j = 0; j < n; j += of_one) {
      const T norm = std::sqrt(sums[slice + j * step]);
      clipped |= reference::clip_in_place(x.subspan(i + j, of_one), [=](T v) {
        return reference::clipped_by_norm(semantics, v, norm, static_cast<T>(clip_norm));
      });
    }
  });
  return clipped;
}

/// The same in any semantics. Whether anything may have changed.
template <class T>
bool clip_slices(const Slicing& slicing, std::span<T> x, double clip_norm, Semantics semantics) {
  if (semantics != Semantics::safe) {
    clip_slices_as(semantics, slicing, x, clip_norm);
    return true;
  }
  std::vector<double> factors(slicing.room());
  for (size_t k = 0; k < slicing.parts(); ++k)
    slice_norms(slicing.part(k), std::span<const T>(x), factors);
  join_slice_norms(slicing, factors);
  double before = 0, after = 0;
  const std::span<double> of_slices = std::span(factors).first(slicing.count());
  if (!factors_of_norms(
          of_slices, 1, [&](size_t) { return clip_norm; }, before, after))
    return false;
  for (size_t k = 0; k < slicing.parts(); ++k) scale_slices<T>(slicing.part(k), x, of_slices);
  return true;
}

}  // namespace rein
