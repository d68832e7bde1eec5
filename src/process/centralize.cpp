#include <algorithm>

#include "process/check.h"
#include "process/pieces.h"
#include "process/slices.h"
#include "rein/process/units.h"

namespace rein {

static_assert(Transform<Centralize>);

namespace {

// All axes but one; none where there is nothing to do.
std::vector<int> axes_but(const Shape& shape, int axis, std::string_view op, Where where) {
  if (shape.rank() <= 1) return {};
  (void)Slicing(shape, {axis}, op, where);  // throws if it is not there
  const int stays = axis < 0 ? axis + shape.rank() : axis;
  std::vector<int> axes;
  for (int a = 0; a < shape.rank(); ++a)
    if (a != stays) axes.push_back(a);
  return axes;
}

template <class T>
void subtract_means(const Slicing& slicing, std::span<T> x, std::span<double> sums) {
  std::ranges::fill(sums, 0.0);
  add_to_slices(slicing, std::span<const T>(x), sums, [](T v) { return static_cast<double>(v); });
  const double share = static_cast<double>(sums.size()) / static_cast<double>(x.size());
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    for (size_t j = 0; j < n; ++j)
      x[i + j] = static_cast<T>(static_cast<double>(x[i + j]) - sums[slice + j * step] * share);
  });
}

}  // namespace

Gradient centralize(const Gradient& g, int axis, Where where) {
  if (!g || g.is_sparse() || g.shape().rank() <= 1 || g.shape().size() == 0) return g;
  const Slicing slicing(g.shape(), axes_but(g.shape(), axis, "centralize", where), "centralize",
                        where);
  Tensor out = g.values().clone();
  std::vector<double> sums(slicing.count());
  visit_float(out.dtype(), [&](auto zero) {
    subtract_means<decltype(zero)>(slicing, out.flat<decltype(zero)>(), sums);
  });
  return out;
}

Centralize::State Centralize::init(const Variables& variables) const {
  return SliceNorms(
      variables, [&](const Shape& shape) { return axes_but(shape, axis, name, Where{}); }, name);
}

void Centralize::update(Gradients& gradients, State& state, const Variables&, StepInfo&) const {
  need_whole(name, gradients);
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    run_tasks(gradients.team, static_cast<int64_t>(gradients.size()), [&](int64_t task) {
      const auto i = static_cast<size_t>(task);
      if (gradients.kind(i) != Gradients::Kind::dense) return;
      if (gradients.layout().entries[i].spec.shape.rank() <= 1) return;
      const Slicing& slicing = state.of_variable[i];
      subtract_means<T>(slicing, gradients.dense<T>(i), state.of(i, slicing.count()));
    });
  });
}

}  // namespace rein
