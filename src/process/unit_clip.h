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

/// A gradient and its parameters, with room for the norms of their units (Slicing::room).
template <class T>
struct Units {
  const Slicing& gradient_slices;
  const Slicing& parameter_slices;
  std::span<T> gradient;
  std::span<const T> parameters;
  UnitPlace place;
  std::span<double> of_gradient, of_parameters;

  size_t parts() const { return std::max(gradient_slices.parts(), parameter_slices.parts()); }

  void measure(size_t k) const {
    if (k < gradient_slices.parts())
      slice_norms(gradient_slices.part(k), std::span<const T>(gradient), of_gradient);
    if (k < parameter_slices.parts())
      slice_norms(parameter_slices.part(k), parameters, of_parameters);
  }

  /// Factors by AdaptiveGradClip's rule take the place of the gradient's norms. `norm` becomes that
  /// of the gradient (times `pending`), `clipped_norm` that afterwards. Whether any unit is to be
  /// clipped.
  bool join(double clipping, double epsilon, double pending, double& norm,
            double& clipped_norm) const {
    join_slice_norms(gradient_slices, of_gradient);
    join_slice_norms(parameter_slices, of_parameters);
    const auto limit = [&](size_t u) {
      return clipping * std::max(of_parameters[place(u)], epsilon);
    };
    return factors_of_norms(of_gradient.first(gradient_slices.count()), pending, limit, norm,
                            clipped_norm);
  }

  void clip(size_t k) const {
    if (k < gradient_slices.parts())
      scale_slices<T>(gradient_slices.part(k), gradient, of_gradient);
  }
};

/// The rule by Optax's formula in T, at once.
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
  for (size_t u = 0; u < g.size(); ++u) {
    const T limit =
        static_cast<T>(clipping) * reference::maximum(w[units.place(u)], static_cast<T>(epsilon));
    const T factor = g[u] < limit ? T{1} : limit / reference::maximum(g[u], kLeast);
    clipped |= g[u] != 0 && reference::clips(factor);
    units.of_gradient[u] = static_cast<double>(factor);  // a float times it is exact in double
  }
  for (size_t k = 0; k < units.parts(); ++k) units.clip(k);
  return clipped;
}

}  // namespace rein
