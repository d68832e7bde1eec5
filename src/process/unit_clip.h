// Adaptive gradient clipping of one array.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "process/l2.h"
#include "process/reference.h"
#include "process/slices.h"
#include "rein/process/units.h"

namespace rein {

/// The axes that a unit's norm goes along. Throws InvalidArgument for ranks above 5 without an
/// axis.
std::vector<int> unit_axes(const Shape& shape, std::optional<int> axis, std::string_view op,
                           Where where);

/// The unit of the parameters that a unit of the gradient belongs to: the same, or with sparse rows
/// that are units (or several) the one of row rows[k].
struct UnitPlace {
  std::span<const int64_t> rows{};
  size_t per_row = 1;
  size_t operator()(size_t unit) const {
    return rows.empty() ? unit
                        : static_cast<size_t>(rows[unit / per_row]) * per_row + unit % per_row;
  }
};

template <class T>
struct Units {
  const Slicing& gradient_slices;
  const Slicing& parameter_slices;
  std::span<T> gradient;
  std::span<const T> parameters;
  UnitPlace place;
};

/// Clips in place by AdaptiveGradClip's rule; the spans are room for a number for each unit. `norm`
/// becomes that of the gradient (times `pending`), `clipped_norm` that afterwards. Whether any unit
/// was clipped.
template <class T>
bool clip_units(const Units<T>& units, std::span<double> of_gradient,
                std::span<double> of_parameters, double clipping, double epsilon, double pending,
                double& norm, double& clipped_norm) {
  slice_norms(units.gradient_slices, std::span<const T>(units.gradient), of_gradient);
  slice_norms(units.parameter_slices, units.parameters, of_parameters);
  JointNorm before, after;
  bool clipped = false;
  for (size_t u = 0; u < of_gradient.size(); ++u) {
    const double own = of_gradient[u] * pending;
    const double limit = clipping * std::max(of_parameters[units.place(u)], epsilon);
    const double factor = scale_to(own, limit);
    before.add(own);
    after.add(factor == 1 ? own : limit);
    clipped |= factor != 1;
    of_gradient[u] = factor;
  }
  norm = before.value();
  clipped_norm = clipped ? after.value() : norm;
  if (clipped) scale_slices<T>(units.gradient_slices, units.gradient, of_gradient);
  return clipped;
}

/// The same by Optax's formula in T.
template <class T>
bool clip_units_as_optax(const Units<T>& units, double clipping, double epsilon) {
  constexpr T kLeast = static_cast<T>(1e-6);
  const auto norms = [](const Slicing& slicing, std::span<const T> x) {
    std::vector<T> n(slicing.count(), T{0});
    add_to_slices(slicing, x, std::span<T>(n), [](T v) { return v * v; });
    for (T& v : n) v = std::sqrt(v);
    return n;
  };
  const auto g = norms(units.gradient_slices, units.gradient);
  const auto w = norms(units.parameter_slices, units.parameters);
  bool clipped = false;
  units.gradient_slices.for_each_run([&](size_t first, size_t i, size_t n, size_t step) {
    for (size_t j = 0; j < n; ++j) {
      const size_t u = first + j * step;
      const T limit =
          static_cast<T>(clipping) * reference::maximum(w[units.place(u)], static_cast<T>(epsilon));
      if (g[u] < limit) continue;
      const T factor = limit / reference::maximum(g[u], kLeast);
      clipped |= reference::clip_in_place(units.gradient[i + j], [&](T v) { return v * factor; });
    }
  });
  return clipped;
}

}  // namespace rein
