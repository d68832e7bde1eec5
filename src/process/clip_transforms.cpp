#include <atomic>
#include <cmath>

#include "process/check.h"
#include "process/l2.h"
#include "process/pieces.h"
#include "process/sparse.h"
#include "process/tensorflow.h"
#include "rein/kernels/update.h"

namespace rein {

static_assert(Transform<ClipByValue> && Transform<ClipByNorm> && Transform<ClipByAverageNorm> &&
              Transform<ClipByGlobalNorm> && Transform<MeasureNorm>);

namespace {

void record(StepInfo& info, double before, double after) {
  if (!info.measured) info.norm = before;
  info.measured = true;
  info.clipped_norm = after;
}

// Multiplies in what is pending, for transforms that need the true numbers.
template <class T>
void settle(Gradients& gradients) {
  if (gradients.scale == 1) return;
  for_each_piece<T>(gradients, [&](size_t, std::span<T> x) {
    kernels::scale_into(x.data(), gradients.scale, x.data(), x.size());
  });
  gradients.scale = 1;
}

template <class T>
std::span<const T> numbers(const Gradients& gradients, size_t i) {
  return gradients.stored<T>(i);
}

// Shortens each variable whose norm passes its limit; `limit(i)` is in the terms of the norm.
template <class Limit>
void clip_each(Gradients& gradients, Norms& norms, StepInfo& info, Limit limit) {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double before = norms.global();
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
      if (const double scale = scale_to(norms[i], limit(i)); scale != 1)
        kernels::scale_into(x.data(), scale, x.data(), x.size());
    });
  });
  for (size_t i = 0; i < norms.size(); ++i)
    if (scale_to(norms[i], limit(i)) != 1) {
      norms[i] = limit(i);
      info.clipped = true;
    }
  record(info, before, norms.global());
}

// TensorFlow's formulas on each variable: f(x, sum of squares, variable).
template <class F>
void clip_each_as_tensorflow(Gradients& gradients, Norms& norms, StepInfo& info, F f) {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double before = norms.global();
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (gradients.kind(i) == Gradients::Kind::absent) continue;
      const T sum = tensorflow::sum_of_squares(numbers<T>(gradients, i));
      for (T& x : gradients.stored<T>(i)) x = f(x, sum, i);
    }
  });
  norms.take(gradients);
  const double after = norms.global();
  info.clipped |= after < before;
  record(info, before, after);
}

double count(const Gradients& gradients, size_t i) {
  return static_cast<double>(gradients.layout().entries[i].size);
}

}  // namespace

ClipByValue::State ClipByValue::init(const Variables& variables) const {
  check_bounds("ClipByValue", min, max, semantics, Where{});
  return {Norms(variables), Norms(variables)};
}

void ClipByValue::update(Gradients& gradients, State& state, const Variables&,
                         StepInfo& info) const {
  state.before.take(gradients);
  state.before.report_non_finite(gradients, info);
  std::atomic<bool> changed = false;
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    for_each_piece<T>(gradients, [&](size_t, std::span<T> x) {
      if (kernels::clip_in_place(x.data(), static_cast<T>(min), static_cast<T>(max), x.size()))
        changed.store(true, std::memory_order_relaxed);
    });
  });
  state.after.take(gradients);
  info.clipped |= changed;
  record(info, state.before.global(), state.after.global());
}

ClipByNorm::State ClipByNorm::init(const Variables& variables) const {
  check_threshold("ClipByNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

void ClipByNorm::update(Gradients& gradients, State& norms, const Variables&,
                        StepInfo& info) const {
  if (semantics == Semantics::safe)
    clip_each(gradients, norms, info, [&](size_t) { return clip_norm; });
  else
    clip_each_as_tensorflow(gradients, norms, info, [&](auto x, auto sum, size_t) {
      return tensorflow::clipped_by_norm(x, sum, static_cast<decltype(x)>(clip_norm));
    });
}

ClipByAverageNorm::State ClipByAverageNorm::init(const Variables& variables) const {
  check_threshold("ClipByAverageNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

void ClipByAverageNorm::update(Gradients& gradients, State& norms, const Variables&,
                               StepInfo& info) const {
  if (semantics == Semantics::safe)
    clip_each(gradients, norms, info, [&](size_t i) { return clip_norm * count(gradients, i); });
  else
    clip_each_as_tensorflow(gradients, norms, info, [&](auto x, auto sum, size_t i) {
      using T = decltype(x);
      return tensorflow::clipped_by_average_norm(x, sum, static_cast<T>(count(gradients, i)),
                                                 static_cast<T>(clip_norm));
    });
}

ClipByGlobalNorm::State ClipByGlobalNorm::init(const Variables& variables) const {
  check_threshold("ClipByGlobalNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

void ClipByGlobalNorm::update(Gradients& gradients, State& norms, const Variables&,
                              StepInfo& info) const {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  double norm = norms.global(), scale = 1;
  if (semantics == Semantics::safe) {
    scale = scale_to(norm, clip_norm);
  } else {
    visit_float(gradients.dtype(), [&](auto zero) {
      using T = decltype(zero);
      settle<T>(gradients);
      T sum = 0;
      for (size_t i = 0; i < gradients.size(); ++i)
        if (gradients.kind(i) != Gradients::Kind::absent)
          sum += tensorflow::l2_loss(numbers<T>(gradients, i));
      const T own = tensorflow::global_norm(sum);
      norm = static_cast<double>(own);
      scale = static_cast<double>(tensorflow::global_scale(own, static_cast<T>(clip_norm)));
    });
  }
  gradients.scale *= scale;
  info.scale *= scale;
  info.clipped |= norm > clip_norm && scale != 1;
  record(info, norm, scale == 1 ? norm : semantics == Semantics::safe ? clip_norm : norm * scale);
}

MeasureNorm::State MeasureNorm::init(const Variables& variables) const { return Norms(variables); }

void MeasureNorm::update(Gradients& gradients, State& norms, const Variables&,
                         StepInfo& info) const {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  record(info, norms.global(), norms.global());
}

}  // namespace rein
