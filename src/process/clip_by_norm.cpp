// Functions on gradients that are clipped one by one.
#include "rein/process/clip_by_norm.h"

#include "process/check.h"
#include "process/gradient_numbers.h"
#include "process/slice_clip.h"

namespace rein {

Gradient clip_by_norm(const Gradient& g, double clip_norm, ClipByNormOptions options, Where where) {
  check_threshold("clip_by_norm", clip_norm, options.semantics, where);
  check_gradient("clip_by_norm", g, where);
  if (!g) return g;
  const Semantics semantics = options.semantics;
  const bool safe = semantics == Semantics::safe;
  if (!options.axes.empty()) {
    const Gradient whole = safe ? merged(g) : g;
    const Slicing slicing(whole.values().shape(), options.axes, "clip_by_norm", where);
    Tensor out = whole.values().clone();
    const bool changed = visit_float(out.dtype(), [&](auto zero) {
      return clip_slices<decltype(zero)>(slicing, out.flat<decltype(zero)>(), clip_norm, semantics);
    });
    return changed ? whole.with_values(std::move(out)) : g;
  }
  if (safe) return scaled(g, scale_to(safe_norm(g, 2), clip_norm));
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
    const T norm = reference::p_norm(g.values().flat<T>(), 2);
    return map<T>(g, [&](T x) {
      return reference::clipped_by_norm(semantics, x, norm, static_cast<T>(clip_norm));
    });
  });
}

std::vector<Gradient> clip_by_norm(std::span<const Gradient> gradients, double clip_norm,
                                   ClipByNormOptions options, Where where) {
  check_not_all_absent("clip_by_norm", gradients, options.semantics, where);
  std::vector<Gradient> clipped;
  for (const Gradient& g : gradients) clipped.push_back(clip_by_norm(g, clip_norm, options, where));
  return clipped;
}

Gradient clip_by_average_norm(const Gradient& g, double clip_norm, Semantics semantics,
                              Where where) {
  check_threshold("clip_by_average_norm", clip_norm, semantics, where);
  check_gradient("clip_by_average_norm", g, where);
  if (!g) return g;
  const auto n = static_cast<double>(g.shape().size());
  if (semantics == Semantics::safe) return scaled(g, scale_to(safe_norm(g, 2), clip_norm * n));
  // TensorFlow makes a sparse gradient dense here, which merges its rows too.
  const Gradient whole = merged(g);
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
    const T norm = reference::p_norm(whole.values().flat<T>(), 2);
    return map<T>(whole, [&](T x) {
      return reference::clipped_by_average_norm(x, norm, static_cast<T>(n),
                                                static_cast<T>(clip_norm));
    });
  });
}

Gradient clip_by_block_rms(const Gradient& g, double threshold, Semantics semantics, Where where) {
  check_threshold("clip_by_block_rms", threshold, semantics, where, "threshold");
  check_gradient("clip_by_block_rms", g, where);
  if (!g) return g;
  const auto n = static_cast<double>(g.shape().size());
  if (semantics == Semantics::safe)
    return scaled(g, scale_to(safe_norm(g, 2), threshold * std::sqrt(n)));
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
    const T sum = reference::sum_of_squares(g.values().flat<T>());
    return map<T>(g, [&](T x) {
      return reference::clipped_by_block_rms(x, sum, static_cast<T>(n), static_cast<T>(threshold));
    });
  });
}

}  // namespace rein
