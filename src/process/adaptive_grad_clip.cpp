#include <fmt/format.h>

#include <atomic>
#include <cmath>

#include "process/check.h"
#include "process/gradient_numbers.h"
#include "process/measured.h"
#include "process/unit_clip.h"

namespace rein {

static_assert(Transform<AdaptiveGradClip>);

std::vector<int> unit_axes(const Shape& shape, std::optional<int> axis, std::string_view op,
                           Where where) {
  if (axis) return {*axis};
  std::vector<int> axes;
  int longer = 0;  // axes of more than one element
  for (int a = 0; a < shape.rank(); ++a) {
    axes.push_back(a);
    longer += shape[a] != 1;
  }
  if (longer <= 1) return axes;
  if (shape.rank() <= 3) return {0};
  if (shape.rank() > 5)
    throw InvalidArgument(
        op, fmt::format("a gradient of shape {} has no units; give the axis", to_string(shape)),
        where);
  axes.pop_back();
  return axes;
}

std::vector<Gradient> adaptive_grad_clip(std::span<const Gradient> gradients,
                                         std::span<const Tensor> parameters, double clipping,
                                         AdaptiveGradClipOptions options, Where where) {
  constexpr std::string_view op = "adaptive_grad_clip";
  check_threshold(op, clipping, options.semantics, where, "clipping");
  check_range(op, "epsilon", options.epsilon, 0, 1e300, where);
  if (gradients.size() != parameters.size())
    throw InvalidArgument(op,
                          fmt::format("{} gradients need as many parameters, got {}",
                                      gradients.size(), parameters.size()),
                          where);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Gradient& g = gradients[i];
    check_gradient(op, g, where);
    if (!g) continue;
    if (const Spec wanted{g.shape(), g.values().dtype()}; parameters[i].spec() != wanted)
      throw InvalidArgument(op,
                            fmt::format("parameters {} are {}, their gradient is {}", i,
                                        to_string(parameters[i].spec()), to_string(wanted)),
                            where);
  }
  std::vector<Gradient> clipped;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Gradient whole = merged(gradients[i]);
    if (!whole) {
      clipped.emplace_back();
      continue;
    }
    const auto axes = unit_axes(whole.shape(), options.axis, op, where);
    const Slicing own(whole.values().shape(), axes, op, where), all(whole.shape(), axes, op, where);
    Tensor out = whole.values().clone();
    const bool changed = visit_float(out.dtype(), [&](auto zero) {
      using T = decltype(zero);
      std::vector<double> of_gradient(own.room()), of_parameters(all.room());
      Units<T> units{own, all,         out.flat<T>(), parameters[i].flat<T>(),
                     {},  of_gradient, of_parameters};
      if (whole.is_sparse() && own.count() != all.count())
        units.place = {whole.sparse().indices.flat<int64_t>(),
                       all.count() / static_cast<size_t>(whole.shape()[0])};
      if (options.semantics != Semantics::safe) {
        clip_units_as_optax(units, clipping, options.epsilon);
        return true;
      }
      double before = 0, after = 0;
      for (size_t k = 0; k < units.parts(); ++k) units.measure(k);
      if (!units.join(clipping, options.epsilon, 1, before, after)) return false;
      for (size_t k = 0; k < units.parts(); ++k) units.clip(k);
      return true;
    });
    clipped.push_back(changed ? whole.with_values(std::move(out)) : gradients[i]);
  }
  return clipped;
}

AdaptiveGradClip::State AdaptiveGradClip::init(const Variables& variables) const {
  check_threshold(name, clipping, semantics, "clipping");
  check_range(name, "epsilon", epsilon, 0, 1e300);
  State state;
  state.slices = SliceNorms(
      variables, [&](const Shape& shape) { return unit_axes(shape, axis, name, Where{}); }, name);
  state.of_parameters.resize(state.slices.values.size());
  state.after.resize(variables.size());
  state.norms = Norms(variables);
  return state;
}

void AdaptiveGradClip::update(Gradients& gradients, State& state, const Variables& variables,
                              StepInfo& info) const {
  const double limit = threshold_at(name, clipping, info, semantics, "clipping");
  need_whole(name, gradients);
  gradients.merge_duplicates();
  std::vector<double>& before = state.norms.of_variable;
  std::atomic<bool> clipped = false;
  std::ranges::fill(before, 0.0);
  std::ranges::fill(state.after, 0.0);
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (semantics != Semantics::safe) settle<T>(gradients);
    const double pending = std::abs(gradients.scale);
    const auto room_of_parameters = [&](size_t i) {
      return std::span(state.of_parameters)
          .subspan(state.slices.first[i], state.slices.of_variable[i].room());
    };
    const auto with_units = [&](size_t i, auto f) {
      const Slicing& all = state.slices.of_variable[i];
      const Slicing own = state.slices.of_stored(gradients, i);
      UnitPlace place;
      if (own.count() != all.count())  // some rows, which are units or several
        place = {gradients.sparse(i).indices.template flat<int64_t>(),
                 all.count() / static_cast<size_t>(gradients.sparse(i).dense_shape[0])};
      return f(Units<T>{own, all, gradients.stored<T>(i), variables.values<T>(i), place,
                        state.slices.of(i, own), room_of_parameters(i)});
    };
    const auto there = [&](size_t i) { return gradients.kind(i) != Gradients::Kind::absent; };
    if (semantics == Semantics::safe) {
      for_slice_parts(
          gradients, state.slices,
          [&](size_t i) {
            return there(i) ? with_units(i, [](const auto& units) { return units.parts(); }) : 0;
          },
          [&](size_t i, size_t k) { with_units(i, [&](const auto& units) { units.measure(k); }); },
          [&](size_t i) {
            return with_units(i, [&](const auto& units) {
              const bool clips = units.join(limit, epsilon, pending, before[i], state.after[i]);
              if (clips) clipped = true;
              return clips;
            });
          },
          [&](size_t i, size_t k) { with_units(i, [&](const auto& units) { units.clip(k); }); });
      return;
    }
    run_tasks(gradients.team, static_cast<int64_t>(gradients.size()), [&](int64_t task) {
      const auto i = static_cast<size_t>(task);
      if (!there(i)) return;
      with_units(i, [&](const auto& units) {
        before[i] = l2_norm(std::span<const T>(units.gradient));
        if (clip_units_as_optax(units, limit, epsilon)) clipped = true;
        state.after[i] = l2_norm(std::span<const T>(units.gradient));
      });
    });
  });
  state.norms.report_non_finite(gradients, info);
  info.clipped |= clipped;
  record_norms(info, joint_norm(before), joint_norm(state.after));
}

}  // namespace rein
