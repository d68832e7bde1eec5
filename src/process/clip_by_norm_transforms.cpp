#include <algorithm>
#include <atomic>

#include "process/check.h"
#include "process/measured.h"
#include "process/reference.h"
#include "process/slice_clip.h"
#include "rein/process/clip_by_norm.h"

namespace rein {

static_assert(Transform<ClipByNorm> && Transform<ClipByAverageNorm> && Transform<ClipByBlockRms>);

namespace {

// A reference's formula on each variable: f(x, sum of squares, its root, elements).
template <class F>
void clip_each_as(Gradients& gradients, Norms& norms, StepInfo& info, F f) {
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    std::vector<T> sums(gradients.size());  // before the norms are taken, which merges rows
    run_tasks(gradients.team, static_cast<int64_t>(sums.size()), [&](int64_t task) {
      const auto i = static_cast<size_t>(task);
      if (gradients.kind(i) != Gradients::Kind::absent)
        sums[i] = reference::sum_of_squares(std::span<const T>(gradients.stored<T>(i)));
    });
    norms.take(gradients);
    norms.report_non_finite(gradients, info);
    const double before = norms.global();
    std::atomic<bool> clipped = false;
    for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
      const T sum = sums[i], root = std::sqrt(sum), n = static_cast<T>(norms.elements[i]);
      if (reference::clip_in_place(x, [=](T v) { return f(v, sum, root, n); })) clipped = true;
    });
    info.clipped |= clipped;
    norms.take(gradients);
    record_norms(info, before, norms.global());
  });
}

// How rank allows it: each slice along `axes`, or all of an array that has not these axes.
std::vector<int> axes_of(const Shape& shape, const std::vector<int>& axes) {
  std::vector<int> all;
  for (int a = 0; a < shape.rank(); ++a) all.push_back(a);
  const bool fits = std::ranges::all_of(
      axes, [&](int axis) { return axis >= -shape.rank() && axis < shape.rank(); });
  return fits ? axes : all;
}

// By each slice's norm.
void clip_by_slices(double clip_norm, Gradients& gradients, ClipByNorm::State& state,
                    std::atomic<bool>& clipped) {
  gradients.merge_duplicates();
  SliceNorms& slices = state.slices;
  slices.fit(gradients);
  const double pending = std::abs(gradients.scale);
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_slice_parts(
        gradients, slices,
        [&](size_t i) {
          const bool there = gradients.kind(i) != Gradients::Kind::absent;
          return there ? slices.of_stored(gradients, i).parts() : 0;
        },
        [&](size_t i, size_t k) {
          const Slicing own = slices.of_stored(gradients, i);
          slice_norms(own.part(k), std::span<const T>(gradients.stored<T>(i)), slices.of(i, own));
        },
        [&](size_t i) {
          const Slicing own = slices.of_stored(gradients, i);
          const auto norms = slices.of(i, own);
          join_slice_norms(own, norms);
          const bool clips = factors_of_norms(
              norms.first(own.count()), pending, [&](size_t) { return clip_norm; },
              state.norms.of_variable[i], state.after[i]);
          if (clips) clipped = true;
          return clips;
        },
        [&](size_t i, size_t k) {
          const Slicing own = slices.of_stored(gradients, i);
          scale_slices<T>(own.part(k), gradients.stored<T>(i), slices.of(i, own));
        });
  });
}

// A reference's formula on each slice.
void clip_by_slices_as(Semantics semantics, double clip_norm, Gradients& gradients,
                       ClipByNorm::State& state, std::atomic<bool>& clipped) {
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    settle<T>(gradients);
    run_tasks(gradients.team, static_cast<int64_t>(gradients.size()), [&](int64_t task) {
      const auto i = static_cast<size_t>(task);
      if (gradients.kind(i) == Gradients::Kind::absent) return;
      const auto x = gradients.stored<T>(i);
      state.norms.of_variable[i] = l2_norm(std::span<const T>(x));
      if (clip_slices_as(semantics, state.slices.of_stored(gradients, i), x, clip_norm))
        clipped = true;
      state.after[i] = l2_norm(std::span<const T>(x));
    });
  });
}

}  // namespace

ClipByNorm::State ClipByNorm::init(const Variables& variables) const {
  check_threshold(name, clip_norm, semantics);
  check_shards(name, shards, semantics);
  if (shards && !axes.empty())
    throw InvalidArgument(name, "shards have no norms along axes; leave one of the two away",
                          Where{});
  State state;
  state.norms = Norms(variables, 2, shards, name);
  state.after.resize(variables.size());
  if (!axes.empty())
    state.slices = SliceNorms(
        variables, [&](const Shape& shape) { return axes_of(shape, axes); }, name);
  return state;
}

void ClipByNorm::update(Gradients& gradients, State& state, const Variables&,
                        StepInfo& info) const {
  const double c = threshold_at(name, clip_norm, info, semantics);
  const auto limit = [&](size_t) { return c; };
  if (!axes.empty() || semantics != Semantics::safe) need_whole(name, gradients);
  if (axes.empty() && semantics == Semantics::safe) {
    clip_each(gradients, state.norms, info, limit);
  } else if (axes.empty()) {
    clip_each_as(gradients, state.norms, info, [c, as = semantics](auto x, auto, auto norm, auto) {
      return reference::clipped_by_norm(as, x, norm, static_cast<decltype(x)>(c));
    });
  } else {
    std::ranges::fill(state.norms.of_variable, 0.0);
    std::ranges::fill(state.after, 0.0);
    std::atomic<bool> clipped = false;
    if (semantics == Semantics::safe)
      clip_by_slices(c, gradients, state, clipped);
    else
      clip_by_slices_as(semantics, c, gradients, state, clipped);
    state.norms.report_non_finite(gradients, info);
    info.clipped |= clipped;
    record_norms(info, joint_norm(state.norms.of_variable), joint_norm(state.after));
  }
}

ClipByAverageNorm::State ClipByAverageNorm::init(const Variables& variables) const {
  check_threshold(name, clip_norm, semantics);
  check_shards(name, shards, semantics);
  return Norms(variables, 2, shards, name);
}

void ClipByAverageNorm::update(Gradients& gradients, State& norms, const Variables&,
                               StepInfo& info) const {
  const double c = threshold_at(name, clip_norm, info, semantics);
  if (semantics != Semantics::safe) need_whole(name, gradients);
  const auto limit = [&](size_t i) { return c * norms.elements[i]; };
  if (semantics == Semantics::safe) {
    clip_each(gradients, norms, info, limit);
  } else {
    gradients.merge_duplicates();  // TensorFlow makes a sparse gradient dense here
    clip_each_as(gradients, norms, info, [c](auto x, auto, auto norm, auto n) {
      return reference::clipped_by_average_norm(x, norm, n, static_cast<decltype(x)>(c));
    });
  }
}

ClipByBlockRms::State ClipByBlockRms::init(const Variables& variables) const {
  check_threshold(name, threshold, semantics, "threshold");
  check_shards(name, shards, semantics);
  return Norms(variables, 2, shards, name);
}

void ClipByBlockRms::update(Gradients& gradients, State& norms, const Variables&,
                            StepInfo& info) const {
  const double c = threshold_at(name, threshold, info, semantics, "threshold");
  if (semantics != Semantics::safe) need_whole(name, gradients);
  const auto limit = [&](size_t i) { return c * std::sqrt(norms.elements[i]); };
  if (semantics == Semantics::safe)
    clip_each(gradients, norms, info, limit);
  else
    clip_each_as(gradients, norms, info, [c](auto x, auto sum, auto, auto n) {
      return reference::clipped_by_block_rms(x, sum, n, static_cast<decltype(x)>(c));
    });
}

}  // namespace rein
