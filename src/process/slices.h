// Sums and factors of slices, and how their arrays are shared among a team.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "process/l2.h"
#include "process/pieces.h"
#include "rein/kernels/norm.h"
#include "rein/kernels/update.h"
#include "rein/process/slices.h"

namespace rein {

/// Adds f(x) to the sum of each slice, which begin at 0.
template <class T, class A, class F>
void add_to_slices(const Slicing& slicing, std::span<const T> x, std::span<A> sums, F f) {
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 1) {
      for (size_t j = 0; j < n; ++j) sums[slice + j] += f(x[i + j]);
    } else {
      A sum = 0;
      for (size_t j = 0; j < n; ++j) sum += f(x[i + j]);
      sums[slice] += sum;
    }
  });
}

/// The safe L2 norm of each slice of one part, in its place among those of all.
template <class T>
void slice_norms(const Slicing::Part& part, std::span<const T> array, std::span<double> norms);

/// Brings what the parts have together: the norms of the slices are the first numbers then.
void join_slice_norms(const Slicing& slicing, std::span<double> norms);

/// Norms, times what is pending, become the factors that bring them to limit(slice). `before` and
/// `after` are the norms of all together. Whether any factor is not 1.
template <class Limit>
bool factors_of_norms(std::span<double> norms, double pending, Limit limit, double& before,
                      double& after) {
  JointNorm own, limited;
  bool clips = false;
  for (size_t s = 0; s < norms.size(); ++s) {
    const double norm = norms[s] * pending, most = limit(s), factor = scale_to(norm, most);
    own.add(norm);
    limited.add(factor == 1 ? norm : most);
    clips |= factor != 1;
    norms[s] = factor;
  }
  before = own.value();
  after = clips ? limited.value() : before;
  return clips;
}

/// Multiplies each element of a part by the factor of its slice; those of factor 1 keep their bits.
template <class T>
void scale_slices(const Slicing::Part& part, std::span<T> array, std::span<const double> factors) {
  const auto x = array.subspan(part.element, part.elements);
  const auto own = factors.subspan(part.slice);
  part.slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 1)
      kernels::scale_each(&own[slice], &x[i], n);
    else if (own[slice] != 1)
      kernels::scale_into(&x[i], own[slice], &x[i], n);
  });
}

/// Calls measure(variable, k) for all its parts k < parts(variable), then join(variable), and where
/// that is true apply(variable, k) for them. Parts of a variable that holds much of all are shared
/// among the team; any other is one task, so that its numbers are still in the cache when they are
/// applied.
template <class Parts, class Measure, class Join, class Apply>
void for_slice_parts(const Gradients& gradients, SliceNorms& slices, Parts parts, Measure measure,
                     Join join, Apply apply) {
  const Layout& layout = gradients.layout();
  std::vector<size_t>& first = slices.tasks;
  const size_t n = gradients.size();
  const auto shared = [&](size_t i) { return layout.entries[i].size > layout.size / 32; };
  for (size_t i = 0; i < n; ++i)
    first[i + 1] = first[i] + (shared(i) ? parts(i) : std::min<size_t>(parts(i), 1));
  const auto for_tasks = [&](auto f) {
    run_tasks(gradients.team, static_cast<int64_t>(first[n]), [&](int64_t task) {
      const auto t = static_cast<size_t>(task);
      const auto i = static_cast<size_t>(std::ranges::upper_bound(first, t) - first.begin()) - 1;
      f(i, t - first[i]);
    });
  };
  for_tasks([&](size_t i, size_t k) {
    if (shared(i)) return measure(i, k);
    for (size_t part = 0; part < parts(i); ++part) measure(i, part);
    if (join(i))
      for (size_t part = 0; part < parts(i); ++part) apply(i, part);
  });
  bool any = false;
  for (size_t i = 0; i < n; ++i) {
    slices.changes[i] = shared(i) && parts(i) > 0 && join(i);
    any |= slices.changes[i] != 0;
  }
  if (!any) return;
  for_tasks([&](size_t i, size_t k) {
    if (slices.changes[i]) apply(i, k);
  });
}

}  // namespace rein
