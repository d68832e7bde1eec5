// Functions on lists of gradients that are clipped together.
#include "rein/process/clip_by_global_norm.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number_text.h"
#include "process/check.h"
#include "process/gradient_numbers.h"

namespace rein {
namespace {

std::optional<DType> common_dtype(std::string_view op, std::span<const Gradient> gradients,
                                  Where where) {
  std::optional<DType> dtype;
  for (const Gradient& g : gradients) {
    if (!g) continue;
    const DType own = g.values().dtype();
    if (dtype && *dtype != own)
      throw InvalidArgument(op,
                            fmt::format("formulas of other libraries need gradients of one type, "
                                        "got {} and {}",
                                        to_string(*dtype), to_string(own)),
                            where);
    dtype = own;
  }
  return dtype;
}

double norm_of_all(std::string_view op, std::span<const Gradient> gradients, double order,
                   Semantics semantics, Where where) {
  check_order(op, order, semantics, where);
  for (const Gradient& g : gradients) {
    check_gradient(op, g, where);
    if (g && g.values().size() == 0 && std::isinf(order) && semantics == Semantics::pytorch)
      throw InvalidArgument(op, "PyTorch has no largest element of a gradient without any", where);
  }
  if (semantics == Semantics::safe) {
    std::vector<double> norms;
    for (const Gradient& g : gradients)
      if (g) norms.push_back(safe_norm(g, order));
    return joint_norm(norms, order);
  }
  const auto dtype = common_dtype(op, gradients, where);
  if (!dtype) return 0;
  return visit_float(*dtype, [&](auto zero) -> double {
    using T = decltype(zero);
    reference::GlobalNorm<T> norm(semantics, order);
    for (const Gradient& g : gradients)
      if (g) norm.add(g.values().flat<T>());
    return norm.value();
  });
}

void refuse_non_finite(std::string_view op, std::span<const Gradient> gradients, double norm,
                       Where where) {
  if (std::isfinite(norm)) return;
  std::string first = "no gradient by itself";
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i] && !std::isfinite(safe_norm(gradients[i], 2))) {
      first = fmt::format("gradient {} of {}", i, gradients.size());
      break;
    }
  throw InvalidArgument(
      op, fmt::format("the norm is {}; the first that is not finite: {}", number_text(norm), first),
      where);
}

}  // namespace

double global_norm(std::span<const Gradient> gradients, GlobalNormOptions options, Where where) {
  return norm_of_all("global_norm", gradients, options.norm_type, options.semantics, where);
}

ClippedGradients clip_by_global_norm(std::span<const Gradient> gradients, double clip_norm,
                                     ClipByGlobalNormOptions options, Where where) {
  constexpr std::string_view op = "clip_by_global_norm";
  const Semantics semantics = options.semantics;
  check_threshold(op, clip_norm, semantics, where);
  check_not_all_absent(op, gradients, semantics, where);
  ClippedGradients result;
  if (options.use_norm) {
    for (const Gradient& g : gradients) check_gradient(op, g, where);
    result.norm = *options.use_norm;
    if (semantics == Semantics::safe && result.norm < 0)
      throw InvalidArgument(
          op, fmt::format("use_norm is {}, and a norm is not negative", number_text(result.norm)),
          where);
  } else {
    result.norm = norm_of_all(op, gradients, options.norm_type, semantics, where);
  }
  if (options.error_if_nonfinite) refuse_non_finite(op, gradients, result.norm, where);
  for (const Gradient& g : gradients) {
    if (semantics == Semantics::safe) {
      result.gradients.push_back(scaled(g, scale_to(result.norm, clip_norm)));
      continue;
    }
    result.gradients.push_back(!g ? g : visit_float(g.values().dtype(), [&](auto zero) {
      using T = decltype(zero);
      return map<T>(g, [&](T x) {
        return reference::globally_clipped(semantics, x, static_cast<T>(result.norm),
                                           static_cast<T>(clip_norm));
      });
    }));
  }
  return result;
}

}  // namespace rein
