#include "rein/process/clip.h"

#include <fmt/format.h>

#include "process/check.h"
#include "process/clip_over_axes.h"
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

}  // namespace

Gradient clip_by_norm(const Gradient& g, double clip_norm, ClipByNormOptions options, Where where) {
  check_threshold("clip_by_norm", clip_norm, options.semantics, where);
  check_gradient("clip_by_norm", g, where);
  if (!g) return g;
  const bool safe = options.semantics == Semantics::safe;
  if (!options.axes.empty()) {
    const Gradient whole = safe ? merged(g) : g;
    Gradient clipped = clip_by_norm_over_axes(whole, clip_norm, options, where);
    return clipped.values().data() == whole.values().data() ? g : clipped;
  }
  if (safe) return scaled(g, scale_to(safe_norm(g), clip_norm));
  return visit_float(g.values().dtype(), [&](auto zero) -> Gradient {
    using T = decltype(zero);
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
