#include <fmt/format.h>

#include <cmath>

#include "base/number_text.h"
#include "process/check.h"
#include "process/measured.h"
#include "process/reference.h"
#include "rein/process/clip_by_global_norm.h"

namespace rein {

static_assert(Transform<ClipByGlobalNorm> && Transform<MeasureNorm> && Transform<MaxChange>);

namespace {

struct NormAndScale {
  double norm, scale;
  bool clips;
};

template <class T>
NormAndScale found_as(const ClipByGlobalNorm& clip, Gradients& gradients, double limit) {
  settle<T>(gradients);
  reference::GlobalNorm<T> all(clip.semantics, clip.norm_type);
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients.kind(i) != Gradients::Kind::absent)
      all.add(std::span<const T>(gradients.stored<T>(i)));
  double norm = all.value();
  if (clip.use_norm) norm = clip.use_norm(norm);
  const T scale = reference::globally_clipped(clip.semantics, T{1}, static_cast<T>(norm),
                                              static_cast<T>(limit));
  return {norm, scale, reference::clips(scale)};
}

}  // namespace

ClipByGlobalNorm::State ClipByGlobalNorm::init(const Variables& variables) const {
  check_threshold(name, clip_norm, semantics);
  check_order(name, norm_type, semantics, Where{});
  check_shards(name, shards, semantics);
  return Norms(variables, norm_type, shards, name);
}

void ClipByGlobalNorm::update(Gradients& gradients, State& norms, const Variables&,
                              StepInfo& info) const {
  const double limit = threshold_at(name, clip_norm, info, semantics);
  const bool safe = semantics == Semantics::safe;
  NormAndScale found{};
  if (!safe) {
    need_whole(name, gradients);
    found = visit_float(gradients.dtype(), [&](auto zero) {  // first: taking norms merges rows
      return found_as<decltype(zero)>(*this, gradients, limit);
    });
  }
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  if (safe) {
    found.norm = norms.global();
    if (use_norm) found.norm = use_norm(found.norm);
    found.scale = scale_to(found.norm, limit);
    found.clips = found.scale != 1;
  }
  if (error_if_nonfinite && !std::isfinite(found.norm))
    throw InvalidArgument(name,
                          fmt::format("the norm is {}; the first that is not finite: '{}'",
                                      number_text(found.norm), info.non_finite),
                          Where{});
  gradients.scale *= found.scale;
  info.scale *= found.scale;
  info.clipped |= found.clips;
  record_norms(info, found.norm,
               found.scale == 1 ? found.norm
               : safe           ? limit
                                : found.norm * found.scale,
               norm_type, found.scale);
}

MeasureNorm::State MeasureNorm::init(const Variables& variables) const {
  check_order(name, norm_type, Semantics::safe, Where{});
  return Norms(variables, norm_type, shards, name);
}

void MeasureNorm::update(Gradients& gradients, State& norms, const Variables&,
                         StepInfo& info) const {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double norm = norms.global();
  record_norms(info, norm, norm, norm_type, 1);
}

MaxChange::State MaxChange::init(const Variables& variables) const {
  check_threshold(name, per_variable, Semantics::safe, "per_variable");
  check_threshold(name, global, Semantics::safe, "global");
  return Norms(variables, 2, shards, name);
}

void MaxChange::update(Gradients& gradients, State& norms, const Variables&, StepInfo& info) const {
  const double each = threshold_at(name, per_variable, info, Semantics::safe, "per_variable");
  const double all = threshold_at(name, global, info, Semantics::safe, "global");
  clip_each(gradients, norms, info, [&](size_t) { return each; });
  const double scale = scale_to(info.clipped_norm, all);
  if (scale == 1) return;
  gradients.scale *= scale;
  info.scale *= scale;
  info.clipped = true;
  info.clipped_norm = all;
}

}  // namespace rein
