#include "rein/process/per_example.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "process/check.h"
#include "process/l2.h"
#include "process/noise.h"
#include "process/reference.h"

namespace rein {
namespace {

void check_examples(std::string_view op, std::span<const Tensor> gradients, double clip_norm,
                    Semantics semantics, Where where) {
  check_threshold(op, clip_norm, semantics, where);
  for (const Tensor& g : gradients)
    if (!is_floating(g.dtype()) || g.shape().rank() < 1 || g.dtype() != gradients[0].dtype() ||
        g.shape()[0] != gradients[0].shape()[0])
      throw InvalidArgument(op,
                            fmt::format("gradients must be of one floating type and share axis 0, "
                                        "the examples; got {} and {}",
                                        to_string(gradients[0].spec()), to_string(g.spec())),
                            where);
}

Shape of_one_example(const Tensor& g) {
  return Shape(std::span<const int64_t>(g.shape().begin() + 1, g.shape().end()));
}

template <class T>
std::span<const T> example(const Tensor& g, int64_t i) {
  const auto width = static_cast<size_t>(g.size() / g.shape()[0]);
  return g.flat<T>().subspan(static_cast<size_t>(i) * width, width);
}

// What the gradient of an example is multiplied by.
template <class T>
double multiplier(std::span<const Tensor> gradients, int64_t i, double clip_norm,
                  Semantics semantics) {
  if (semantics == Semantics::safe) {
    JointNorm joint;
    for (const Tensor& g : gradients) joint.add(l2_norm(example<T>(g, i)));
    const double norm = joint.value();
    return std::isfinite(norm) ? scale_to(norm, clip_norm) : 0;
  }
  reference::GlobalNorm<T> norm(Semantics::optax, 2);
  for (const Tensor& g : gradients) norm.add(example<T>(g, i));
  const T factor = reference::minimum(static_cast<T>(clip_norm) / norm.value(), T{1});
  return std::isnan(factor) ? 1 : static_cast<double>(factor);
}

}  // namespace

ClippedExamples per_example_global_norm_clip(std::span<const Tensor> gradients, double clip_norm,
                                             Semantics semantics, Where where) {
  check_examples("per_example_global_norm_clip", gradients, clip_norm, semantics, where);
  ClippedExamples result;
  if (gradients.empty()) return result;
  for (const Tensor& g : gradients) result.sums.emplace_back(of_one_example(g), g.dtype());
  visit_float(gradients[0].dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < gradients[0].shape()[0]; ++i) {
      const double factor = multiplier<T>(gradients, i, clip_norm, semantics);
      result.clipped += factor < 1;
      if (factor == 0 && semantics == Semantics::safe) continue;
      for (size_t k = 0; k < gradients.size(); ++k) {
        const auto from = example<T>(gradients[k], i);
        const auto to = result.sums[k].template flat<T>();
        for (size_t j = 0; j < from.size(); ++j) to[j] += from[j] * static_cast<T>(factor);
      }
    }
  });
  return result;
}

ClippedLayers per_example_layer_norm_clip(std::span<const Tensor> gradients, double clip_norm,
                                          bool uniform, Semantics semantics, Where where) {
  check_examples("per_example_layer_norm_clip", gradients, clip_norm, semantics, where);
  std::vector<int64_t> sizes;
  for (const Tensor& g : gradients) sizes.push_back(of_one_example(g).size());
  const auto kind = uniform ? ExampleLimits::equal : ExampleLimits::by_size;
  const std::vector<double> limits = limits_of(kind, clip_norm, sizes);
  ClippedLayers result;
  for (size_t k = 0; k < gradients.size(); ++k) {
    auto [sums, clipped] =
        per_example_global_norm_clip(gradients.subspan(k, 1), limits[k], semantics, where);
    result.sums.push_back(std::move(sums[0]));
    result.clipped.push_back(clipped);
  }
  return result;
}

std::string_view to_string(ExampleLimits limits) {
  return limits == ExampleLimits::together ? "together"
         : limits == ExampleLimits::equal  ? "equal"
                                           : "by_size";
}

std::vector<double> limits_of(ExampleLimits limits, double clip_norm,
                              std::span<const int64_t> sizes) {
  if (limits == ExampleLimits::together) return {clip_norm};
  const bool equal = limits == ExampleLimits::equal;
  const int64_t all = equal ? std::ssize(sizes) : std::reduce(sizes.begin(), sizes.end());
  std::vector<double> each;
  for (const int64_t size : sizes) {
    const double share = static_cast<double>(equal ? 1 : size) / static_cast<double>(all);
    each.push_back(size == 0 ? 0 : clip_norm * std::sqrt(share));
  }
  return each;
}

void check(const PerExample& s, Where where) {
  constexpr std::string_view op = "record";
  if (!(s.clip_norm > 0))
    throw InvalidArgument(
        op, fmt::format("per_example.clip_norm is {}; it must be more than 0", s.clip_norm), where);
  check_range(op, "per_example.noise_multiplier", s.noise_multiplier, 0, 1e300, where);
  check_range(op, "per_example.batch_size", s.batch_size, 0, 1e300, where);
  if (s.noise_multiplier > 0 && !std::isfinite(s.clip_norm))
    throw InvalidArgument(
        op, "per_example has a noise_multiplier, of a clip_norm that is infinite; set both", where);
  if (s.noise_multiplier > 0 && !s.seed)
    throw InvalidArgument(op,
                          "per_example has a noise_multiplier and no seed; draw a secret one from "
                          "std::random_device",
                          where);
}

void add_noise(Gradients& sum, const PerExample& settings, int64_t step) {
  if (settings.noise_multiplier == 0) return;
  for (size_t i = 0; i < sum.size(); ++i) sum.make_dense(i);
  constexpr uint64_t kOwn = 0x70657220657861;  // none of the streams of AddNoise
  visit_float(sum.dtype(), [&](auto zero) {
    add_normal<decltype(zero)>(
        sum, Seed{settings.seed.value()}, [&](size_t i) { return stream_of(sum.name(i)) ^ kOwn; },
        step, settings.noise_multiplier * settings.clip_norm);
  });
}

}  // namespace rein
