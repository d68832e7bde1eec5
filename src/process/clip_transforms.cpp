#include <atomic>
#include <cmath>

#include "process/check.h"
#include "process/l2.h"
#include "process/norm_blocks.h"
#include "process/tensorflow.h"
#include "rein/kernels/update.h"

namespace rein {

static_assert(Transform<ClipByValue> && Transform<ClipByNorm> && Transform<ClipByAverageNorm> &&
              Transform<ClipByGlobalNorm> && Transform<MeasureNorm>);

namespace {

void record_norms(StepInfo& info, double before, double after) {
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

double element_count(const Gradients& gradients, size_t i) {
  return static_cast<double>(gradients.layout().entries[i].size);
}

// Shortens each variable whose norm passes its limit.
template <class Limit>
void clip_each(Gradients& gradients, Norms& norms, StepInfo& info, Limit limit) {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double before = norms.global();
  std::vector<double>& of = norms.of_variable;
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
      if (const double scale = scale_to(of[i], limit(i)); scale != 1)
        kernels::scale_into(x.data(), scale, x.data(), x.size());
    });
  });
  for (size_t i = 0; i < of.size(); ++i)
    if (scale_to(of[i], limit(i)) != 1) {
      of[i] = limit(i);
      info.clipped = true;
    }
  record_norms(info, before, norms.global());
}

// TensorFlow's formula on each variable: f(x, sum of squares, variable).
template <class Limit, class F>
void clip_each_as_tensorflow(Gradients& gradients, Norms& norms, StepInfo& info, Limit limit, F f) {
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    std::vector<T> sums(gradients.size());  // before the norms are taken, which merges rows
    for (size_t i = 0; i < gradients.size(); ++i)
      if (gradients.kind(i) != Gradients::Kind::absent)
        sums[i] = tensorflow::sum_of_squares(numbers<T>(gradients, i));
    norms.take(gradients);
    norms.report_non_finite(gradients, info);
    const double before = norms.global();
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (gradients.kind(i) == Gradients::Kind::absent) continue;
      for (T& x : gradients.stored<T>(i)) x = f(x, sums[i], i);
      info.clipped |= norms.of_variable[i] > limit(i);
    }
    norms.take(gradients);
    record_norms(info, before, norms.global());
  });
}

}  // namespace

ClipByValue::State ClipByValue::init(const Variables& variables) const {
  check_bounds("ClipByValue", min, max, semantics, Where{});
  return {Norms(variables), Norms(variables)};
}

void ClipByValue::update(Gradients& gradients, State& state, const Variables&,
                         StepInfo& info) const {
  std::atomic<bool> changed = false;
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    const T lo = static_cast<T>(min), hi = static_cast<T>(max);
    const auto clip = [&](std::span<T> x) {
      if (std::isnan(lo) || std::isnan(hi))  // only as in TensorFlow; else they were refused
        std::ranges::fill(x, std::numeric_limits<T>::quiet_NaN());
      else if (kernels::clip_in_place(x.data(), lo, hi, x.size()))
        changed = true;
    };
    if (semantics == Semantics::safe) gradients.merge_duplicates();
    for_each_block<T>(state.before, gradients, [&](size_t b, std::span<T> x) {
      state.before.of_block[b] = block_norm(std::span<const T>(x));
      clip(x);
      state.after.of_block[b] = block_norm(std::span<const T>(x));
    });
    join_blocks<T>(state.before, gradients);
    for (size_t i = 0; i < gradients.size(); ++i)
      if (gradients.kind(i) == Gradients::Kind::sparse) clip(gradients.stored<T>(i));
    join_blocks<T>(state.after, gradients);
  });
  state.before.report_non_finite(gradients, info);
  info.clipped |= changed;
  record_norms(info, state.before.global(), state.after.global());
}

ClipByNorm::State ClipByNorm::init(const Variables& variables) const {
  check_threshold("ClipByNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

void ClipByNorm::update(Gradients& gradients, State& norms, const Variables&,
                        StepInfo& info) const {
  const auto limit = [&](size_t) { return clip_norm; };
  if (semantics == Semantics::safe)
    clip_each(gradients, norms, info, limit);
  else
    clip_each_as_tensorflow(gradients, norms, info, limit, [&](auto x, auto sum, size_t) {
      return tensorflow::clipped_by_norm(x, sum, static_cast<decltype(x)>(clip_norm));
    });
}

ClipByAverageNorm::State ClipByAverageNorm::init(const Variables& variables) const {
  check_threshold("ClipByAverageNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

void ClipByAverageNorm::update(Gradients& gradients, State& norms, const Variables&,
                               StepInfo& info) const {
  const auto limit = [&](size_t i) { return clip_norm * element_count(gradients, i); };
  if (semantics == Semantics::safe) {
    clip_each(gradients, norms, info, limit);
  } else {
    gradients.merge_duplicates();  // TensorFlow makes a sparse gradient dense here
    clip_each_as_tensorflow(gradients, norms, info, limit, [&](auto x, auto sum, size_t i) {
      using T = decltype(x);
      return tensorflow::clipped_by_average_norm(
          x, sum, static_cast<T>(element_count(gradients, i)), static_cast<T>(clip_norm));
    });
  }
}

ClipByGlobalNorm::State ClipByGlobalNorm::init(const Variables& variables) const {
  check_threshold("ClipByGlobalNorm", clip_norm, semantics, Where{});
  return Norms(variables);
}

namespace {

struct NormAndScale {
  double norm, scale;
};

template <class T>
NormAndScale global_scale_as_tensorflow(Gradients& gradients, double clip_norm) {
  settle<T>(gradients);
  T sum = 0;
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients.kind(i) != Gradients::Kind::absent)
      sum += tensorflow::l2_loss(numbers<T>(gradients, i));
  const T norm = tensorflow::global_norm(sum);
  return {static_cast<double>(norm),
          static_cast<double>(tensorflow::global_scale(norm, static_cast<T>(clip_norm)))};
}

}  // namespace

void ClipByGlobalNorm::update(Gradients& gradients, State& norms, const Variables&,
                              StepInfo& info) const {
  NormAndScale found{};
  if (semantics == Semantics::tensorflow)  // first: taking norms merges rows
    found = visit_float(gradients.dtype(), [&](auto zero) {
      return global_scale_as_tensorflow<decltype(zero)>(gradients, clip_norm);
    });
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  if (semantics == Semantics::safe) {
    found.norm = norms.global();
    found.scale = scale_to(found.norm, clip_norm);
  }
  gradients.scale *= found.scale;
  info.scale *= found.scale;
  info.clipped |= found.norm > clip_norm && found.scale != 1;
  record_norms(info, found.norm,
               found.scale == 1               ? found.norm
               : semantics == Semantics::safe ? clip_norm
                                              : found.norm * found.scale);
}

MeasureNorm::State MeasureNorm::init(const Variables& variables) const { return Norms(variables); }

void MeasureNorm::update(Gradients& gradients, State& norms, const Variables&,
                         StepInfo& info) const {
  norms.take(gradients);
  norms.report_non_finite(gradients, info);
  const double norm = norms.global();
  record_norms(info, norm, norm);
}

}  // namespace rein
