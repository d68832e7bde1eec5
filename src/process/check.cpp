#include "process/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rein {

std::string_view to_string(Semantics semantics) {
  switch (semantics) {
    case Semantics::tensorflow:
      return "tensorflow";
    case Semantics::keras:
      return "keras";
    case Semantics::pytorch:
      return "pytorch";
    case Semantics::optax:
      return "optax";
    case Semantics::safe:
      break;
  }
  return "safe";
}

void check_threshold(std::string_view op, double threshold, Semantics semantics, Where where,
                     std::string_view setting) {
  if (semantics == Semantics::safe && !(threshold >= 0))
    throw InvalidArgument(op,
                          fmt::format("{} is {}; give a number from 0 on, or infinity to measure "
                                      "without clipping",
                                      setting, threshold),
                          where);
}

void check_threshold(std::string_view op, const Threshold& threshold, Semantics semantics,
                     std::string_view setting) {
  if (threshold.is_constant()) check_threshold(op, threshold.at({}), semantics, Where{}, setting);
}

double threshold_at(std::string_view op, const Threshold& threshold, const StepInfo& info,
                    Semantics semantics, std::string_view setting) {
  const double value = threshold.at(info);
  check_threshold(op, value, semantics, Where{}, setting);
  return value;
}

double Threshold::at(const StepInfo& info) const {
  const double value = value_.at(std::max<int64_t>(info.step - 1, 0));
  if (!per_sample_) return value;
  if (info.examples <= 0)
    throw InvalidArgument("per_sample",
                          "the number of examples of the step is not known; name the axis of the "
                          "first input that counts them in StepOptions::batch_axis (by hand: set "
                          "StepInfo::examples), or give a limit for the whole batch",
                          Where{});
  return value * static_cast<double>(info.examples);
}

void check_bounds(std::string_view op, double lo, double hi, Semantics semantics, Where where) {
  if (semantics == Semantics::safe && !(lo <= hi))
    throw InvalidArgument(
        op, fmt::format("the bounds must be numbers, the lower first, got {} and {}", lo, hi),
        where);
}

void check_order(std::string_view op, double norm_type, Semantics semantics, Where where) {
  if (!(norm_type >= 1))
    throw InvalidArgument(
        op, fmt::format("norm_type is {}; give a number from 1 on, or infinity", norm_type), where);
  if (norm_type != 2 && semantics != Semantics::safe && semantics != Semantics::pytorch)
    throw InvalidArgument(
        op,
        fmt::format("norm_type is {}, and only the semantics safe and pytorch have other norms "
                    "than that of order 2",
                    norm_type),
        where);
}

void check_range(std::string_view op, std::string_view setting, double value, double lo, double hi,
                 Where where) {
  if (!(value >= lo && value <= hi))
    throw InvalidArgument(
        op, fmt::format("{} is {}; it must be from {} to {}", setting, value, lo, hi), where);
}

void check_shards(std::string_view op, const std::optional<Shards>& shards, Semantics semantics) {
  if (shards && semantics != Semantics::safe)
    throw InvalidArgument(op,
                          fmt::format("the semantics {} know no shards; take safe, or leave shards "
                                      "away",
                                      to_string(semantics)),
                          Where{});
}

void need_whole(std::string_view op, const Gradients& gradients) {
  if (!gradients.partial) return;
  for (const size_t i : gradients.partial->variables)
    if (gradients.kind(i) != Gradients::Kind::absent)
      throw InvalidArgument(
          op,
          fmt::format(
              "this rank holds a part of '{}', as shards of the step say, and it would take "
              "that for the whole; leave the variable out (except), or take a clip by a "
              "norm in the semantics safe",
              gradients.name(i)),
          Where{});
}

void check_gradient(std::string_view op, const Gradient& gradient, Where where) {
  if (!gradient) return;
  if (gradient.is_sparse()) validate(gradient.sparse(), where);
  if (const DType dtype = gradient.values().dtype(); !is_floating(dtype))
    throw InvalidArgument(
        op, fmt::format("a norm needs floating numbers, got a gradient of {}", to_string(dtype)),
        where);
}

void check_not_all_absent(std::string_view op, std::span<const Gradient> gradients,
                          Semantics semantics, Where where) {
  if (std::ranges::any_of(gradients, [](const Gradient& g) { return bool(g); })) return;
  if (semantics == Semantics::keras && !gradients.empty())
    throw InvalidArgument(op, "every gradient is absent; Keras refuses that", where);
}

}  // namespace rein
