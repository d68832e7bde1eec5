#include <algorithm>

#include "process/check.h"
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

// The sums of the slices of one part, in their place among those of all.
template <class T>
void add_up(const Slicing::Part& part, std::span<const T> array, std::span<double> sums) {
  const auto own = sums.subspan(part.number, part.slicing.count());
  std::ranges::fill(own, 0.0);
  add_to_slices(part.slicing, array.subspan(part.element, part.elements), own,
                [](T v) { return static_cast<double>(v); });
}

// The sums of all parts become means, the first numbers.
void to_means(const Slicing& slicing, size_t elements, std::span<double> sums) {
  const size_t count = slicing.count();
  for (size_t at = count; at < sums.size(); at += count)
    for (size_t s = 0; s < count; ++s) sums[s] += sums[at + s];
  const double share = static_cast<double>(count) / static_cast<double>(elements);
  for (double& sum : sums.first(count)) sum *= share;
}

template <class T>
void subtract(const Slicing::Part& part, std::span<T> array, std::span<const double> means) {
  const auto x = array.subspan(part.element, part.elements);
  const auto own = means.subspan(part.slice);
  part.slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    for (size_t j = 0; j < n; ++j)
      x[i + j] = static_cast<T>(static_cast<double>(x[i + j]) - own[slice + j * step]);
  });
}

}  // namespace

Gradient centralize(const Gradient& g, int axis, Where where) {
  if (!g || g.is_sparse() || g.shape().rank() <= 1 || g.shape().size() == 0) return g;
  const Slicing slicing(g.shape(), axes_but(g.shape(), axis, "centralize", where), "centralize",
                        where);
  Tensor out = g.values().clone();
  std::vector<double> sums(slicing.room());
  visit_float(out.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = out.flat<T>();
    for (size_t k = 0; k < slicing.parts(); ++k) add_up<T>(slicing.part(k), x, sums);
    to_means(slicing, x.size(), sums);
    for (size_t k = 0; k < slicing.parts(); ++k) subtract<T>(slicing.part(k), x, sums);
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
    const std::vector<Slicing>& slicings = state.of_variable;
    const auto sums = [&](size_t i) { return state.of(i, slicings[i]); };
    for_slice_parts(
        gradients, state,
        [&](size_t i) {
          const bool centred = gradients.kind(i) == Gradients::Kind::dense &&
                               gradients.layout().entries[i].spec.shape.rank() > 1;
          return centred ? slicings[i].parts() : 0;
        },
        [&](size_t i, size_t k) { add_up<T>(slicings[i].part(k), gradients.dense<T>(i), sums(i)); },
        [&](size_t i) {
          to_means(slicings[i], gradients.layout().entries[i].size, sums(i));
          return true;
        },
        [&](size_t i, size_t k) {
          subtract<T>(slicings[i].part(k), gradients.dense<T>(i), sums(i));
        });
  });
}

}  // namespace rein
