#include "process/clip_over_axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "process/l2.h"
#include "process/tensorflow.h"

namespace rein {
namespace {

// The norm over some axes of an array: which slice each element belongs to.
class Slices {
 public:
  Slices(const Shape& shape, const std::vector<int>& axes, Where where) : shape_(shape) {
    std::array<bool, Shape::kMaxRank> reduced{};
    for (int axis : axes) {
      const int a = axis < 0 ? axis + shape.rank() : axis;
      if (a < 0 || a >= shape.rank())
        throw InvalidArgument(
            "clip_by_norm", fmt::format("shape {} has no axis {}", to_string(shape), axis), where);
      reduced[static_cast<size_t>(a)] = true;
    }
    for (int a = shape.rank(); a-- > 0;) {
      if (reduced[static_cast<size_t>(a)]) continue;
      strides_[static_cast<size_t>(a)] = count_;
      count_ *= shape[a];
    }
  }

  size_t count() const { return static_cast<size_t>(count_); }

  /// The norm of each slice, without overflow and underflow.
  template <class T>
  std::vector<double> norms(std::span<const T> x) const {
    std::vector<double> largest(count(), 0.0), factors, sums(count(), 0.0);
    for_each([&](size_t s, size_t i) {
      const double size = std::abs(static_cast<double>(x[i]));
      if (size > largest[s] || std::isnan(size)) largest[s] = size;  // nothing is above NaN
    });
    for (double size : largest) factors.push_back(unit_factor(size));
    for_each([&](size_t s, size_t i) {
      const double v = static_cast<double>(x[i]) * factors[s];
      sums[s] += v * v;
    });
    for (size_t s = 0; s < sums.size(); ++s)
      sums[s] = std::isfinite(largest[s]) ? std::sqrt(sums[s]) / factors[s] : largest[s];
    return sums;
  }

  /// Calls f(slice, element) for all elements in their order.
  template <class F>
  void for_each(F f) const {
    std::array<int64_t, Shape::kMaxRank> at{};
    const int64_t n = shape_.size();
    int64_t slice = 0;
    for (int64_t i = 0; i < n; ++i) {
      f(static_cast<size_t>(slice), static_cast<size_t>(i));
      for (int a = shape_.rank(); a-- > 0;) {
        const auto k = static_cast<size_t>(a);
        slice += strides_[k];
        if (++at[k] < shape_[a]) break;
        slice -= strides_[k] * at[k];
        at[k] = 0;
      }
    }
  }

 private:
  Shape shape_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
  int64_t count_ = 1;
};

template <class T>
Gradient clip_slices(const Gradient& g, double clip_norm, const ClipByNormOptions& options,
                     Where where) {
  const Slices slices(g.values().shape(), options.axes, where);
  const auto from = g.values().flat<T>();
  Tensor out(g.values().spec());
  const auto to = out.flat<T>();
  if (options.semantics == Semantics::tensorflow) {
    std::vector<T> sums(slices.count(), T{0});
    slices.for_each([&](size_t s, size_t i) { sums[s] += from[i] * from[i]; });
    slices.for_each([&](size_t s, size_t i) {
      to[i] = tensorflow::clipped_by_norm(from[i], sums[s], static_cast<T>(clip_norm));
    });
    return g.with_values(std::move(out));
  }
  const std::vector<double> norms = slices.norms(from);
  std::vector<double> scales;
  for (double norm : norms) scales.push_back(scale_to(norm, clip_norm));
  if (std::ranges::all_of(scales, [](double scale) { return scale == 1; })) return g;
  slices.for_each([&](size_t s, size_t i) {
    to[i] = scales[s] == 1 ? from[i] : static_cast<T>(from[i] * scales[s]);
  });
  return g.with_values(std::move(out));
}

}  // namespace

Gradient clip_by_norm_over_axes(const Gradient& g, double clip_norm,
                                const ClipByNormOptions& options, Where where) {
  return visit_float(g.values().dtype(), [&](auto zero) {
    return clip_slices<decltype(zero)>(g, clip_norm, options, where);
  });
}

}  // namespace rein
