// What transforms share: what they tell of a step, and their loops over the numbers.
#pragma once

#include <cmath>
#include <optional>

#include "process/l2.h"
#include "process/pieces.h"
#include "rein/kernels/update.h"
#include "rein/process/norms.h"

namespace rein {

/// Norms before and after a transform. Both that are told are of one order, the first that is
/// taken: where this is another, `factor` says what becomes of the gradient and so of any norm;
/// without one they begin anew.
inline void record_norms(StepInfo& info, double before, double after, double order = 2,
                         std::optional<double> factor = {}) {
  if (info.measured && info.norm_type != order && factor) {
    info.clipped_norm *= *factor;
    return;
  }
  if (!info.measured || info.norm_type != order) info.norm = before;
  info.norm_type = order;
  info.measured = true;
  info.clipped_norm = after;
}

/// Multiplies in what is pending, for transforms that need the true numbers.
template <class T>
void settle(Gradients& gradients) {
  if (gradients.scale == 1) return;
  for_each_piece<T>(gradients, [&](size_t, std::span<T> x) {
    kernels::scale_into(x.data(), gradients.scale, x.data(), x.size());
  });
  gradients.scale = 1;
}

/// Multiplies the gradient of each variable by factor(variable); by 1 leaves it alone.
template <class Factor>
void scale_each(Gradients& gradients, Factor factor) {
  visit_float(gradients.dtype(), [&](auto zero) {
    for_each_piece<decltype(zero)>(gradients, [&](size_t i, auto x) {
      if (const double f = factor(i); f != 1) kernels::scale_into(x.data(), f, x.data(), x.size());
    });
  });
}

/// A clip of everything at once: takes the norms, asks scale(norm) for the factor, leaves it in
/// `gradients.scale`, and tells all that in `info`.
template <class Scale>
void clip_together(Gradients& gradients, Norms& norms, StepInfo& info, Scale scale) {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double norm = norms.global();
  const double factor = scale(norm);
  gradients.scale *= factor;
  info.scale *= factor;
  info.clipped |= factor < 1;
  record_norms(info, norm, factor == 1 ? norm : norm * factor, 2, factor);
}

/// A clip of each variable: takes the norms, and multiplies each by what brings it to limit(i), or
/// by 1. Afterwards norms.of_variable are those after it.
template <class Limit>
void clip_each(Gradients& gradients, Norms& norms, StepInfo& info, Limit limit) {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double before = norms.global();
  std::vector<double>& of = norms.of_variable;
  scale_each(gradients, [&](size_t i) { return scale_to(of[i], limit(i)); });
  for (size_t i = 0; i < of.size(); ++i)
    if (scale_to(of[i], limit(i)) != 1) {
      of[i] = limit(i);
      info.clipped = true;
    }
  record_norms(info, before, norms.global());
}

}  // namespace rein
