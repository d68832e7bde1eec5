#include "rein/process/clip.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "process/check.h"
#include "process/l2.h"
#include "process/tensorflow.h"
#include "rein/kernels/update.h"

namespace rein {
namespace {

// A gradient of the same kind whose numbers are `f` of the old ones.
template <class T, class F>
Gradient map(const Gradient& g, F f) {
  Tensor out(g.values().spec());
  const auto from = g.values().flat<T>();
  const auto to = out.flat<T>();
  for (size_t i = 0; i < from.size(); ++i) to[i] = f(from[i]);
  return g.with_values(std::move(out));
}

Gradient merged(const Gradient& g) {
  return g.is_sparse() ? Gradient(merge_duplicates(g.sparse())) : g;
}

double safe_norm(const Gradient& g) {
  const Gradient whole = merged(g);
  return visit_float(g.values().dtype(),
                     [&](auto zero) { return l2_norm(whole.values().flat<decltype(zero)>()); });
}

// Times a factor; with 1, the very same gradient.
Gradient scaled(const Gradient& g, double factor) {
  if (!g || factor == 1) return g;
  return visit_float(g.values().dtype(), [&](auto zero) {
    using T = decltype(zero);
    Tensor out(g.values().spec());
    kernels::scale_into(g.values().flat<T>().data(), factor, out.flat<T>().data(),
                        static_cast<size_t>(out.size()));
    return g.with_values(std::move(out));
  });
}

// The norm over some axes of an array: which slice each element belongs to.
class Slices {
 public:
  Slices(std::string_view op, const Shape& shape, const std::vector<int>& axes, Where where)
      : shape_(shape) {
    std::array<bool, Shape::kMaxRank> reduced{};
    for (int axis : axes) {
      const int a = axis < 0 ? axis + shape.rank() : axis;
      if (a < 0 || a >= shape.rank())
        throw InvalidArgument(op, fmt::format("axis {} of shape {}", axis, to_string(shape)),
                              where);
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
  const Slices slices("clip_by_norm", g.values().shape(), options.axes, where);
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

Gradient clip_by_norm(const Gradient& g, double clip_norm, ClipByNormOptions options, Where where) {
  check_threshold("clip_by_norm", clip_norm, options.semantics, where);
  check_gradient("clip_by_norm", g, where);
  if (!g) return g;
  const bool safe = options.semantics == Semantics::safe;
  if (safe && options.axes.empty()) return scaled(g, scale_to(safe_norm(g), clip_norm));
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
    if (!options.axes.empty()) {
      const Gradient whole = safe ? merged(g) : g;
      Gradient clipped = clip_slices<T>(whole, clip_norm, options, where);
      return clipped.values().data() == whole.values().data() ? g : clipped;
    }
    const T sum = tensorflow::sum_of_squares(g.values().flat<T>());
    return map<T>(
        g, [&](T x) { return tensorflow::clipped_by_norm(x, sum, static_cast<T>(clip_norm)); });
  });
}

Gradient clip_by_average_norm(const Gradient& g, double clip_norm, Semantics semantics,
                              Where where) {
  check_threshold("clip_by_average_norm", clip_norm, semantics, where);
  check_gradient("clip_by_average_norm", g, where);
  if (!g) return g;
  const auto n = static_cast<double>(g.shape().size());
  if (semantics == Semantics::safe) return scaled(g, scale_to(safe_norm(g), clip_norm * n));
  // TensorFlow makes a sparse gradient dense here, which merges its rows too.
  const Gradient whole = merged(g);
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
    const T sum = tensorflow::sum_of_squares(whole.values().flat<T>());
    return map<T>(whole, [&](T x) {
      return tensorflow::clipped_by_average_norm(x, sum, static_cast<T>(n),
                                                 static_cast<T>(clip_norm));
    });
  });
}

namespace {

std::optional<DType> common_dtype(std::string_view op, std::span<const Gradient> gradients,
                                  Where where) {
  std::optional<DType> dtype;
  for (const Gradient& g : gradients) {
    if (!g) continue;
    const DType own = g.values().dtype();
    if (dtype && *dtype != own)
      throw InvalidArgument(op,
                            fmt::format("TensorFlow's formula needs gradients of one type, got {} "
                                        "and {}",
                                        to_string(*dtype), to_string(own)),
                            where);
    dtype = own;
  }
  return dtype;
}

double norm_of_all(std::string_view op, std::span<const Gradient> gradients, Semantics semantics,
                   Where where) {
  for (const Gradient& g : gradients) check_gradient(op, g, where);
  if (semantics == Semantics::safe) {
    std::vector<double> norms;
    for (const Gradient& g : gradients)
      if (g) norms.push_back(safe_norm(g));
    return joint_norm(norms);
  }
  const auto dtype = common_dtype(op, gradients, where);
  if (!dtype) return 0;
  return visit_float(*dtype, [&](auto zero) -> double {
    using T = decltype(zero);
    T sum = 0;
    for (const Gradient& g : gradients)
      if (g) sum += tensorflow::l2_loss(g.values().flat<T>());
    return tensorflow::global_norm(sum);
  });
}

}  // namespace

double global_norm(std::span<const Gradient> gradients, Semantics semantics, Where where) {
  return norm_of_all("global_norm", gradients, semantics, where);
}

ClippedGradients clip_by_global_norm(std::span<const Gradient> gradients, double clip_norm,
                                     ClipByGlobalNormOptions options, Where where) {
  constexpr std::string_view op = "clip_by_global_norm";
  check_threshold(op, clip_norm, options.semantics, where);
  ClippedGradients result;
  if (options.use_norm) {
    for (const Gradient& g : gradients) check_gradient(op, g, where);
    result.norm = *options.use_norm;
    if (options.semantics == Semantics::safe && result.norm < 0)
      throw InvalidArgument(
          op, fmt::format("use_norm is {}, and a norm is not negative", result.norm), where);
  } else {
    result.norm = norm_of_all(op, gradients, options.semantics, where);
  }
  for (const Gradient& g : gradients) {
    if (options.semantics == Semantics::safe) {
      result.gradients.push_back(scaled(g, scale_to(result.norm, clip_norm)));
      continue;
    }
    result.gradients.push_back(!g ? g : visit_float(g.values().dtype(), [&](auto zero) {
      using T = decltype(zero);
      const T scale =
          tensorflow::global_scale(static_cast<T>(result.norm), static_cast<T>(clip_norm));
      return map<T>(g, [&](T x) { return x * scale; });
    }));
  }
  return result;
}

}  // namespace rein
