// What clip functions and transforms refuse.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "rein/process/semantics.h"
#include "rein/process/shards.h"
#include "rein/process/threshold.h"
#include "rein/tensor/gradient.h"
#include "rein/tensor/variables.h"

namespace rein {

/// Safe semantics: a threshold is a number from 0 on, or infinity. `setting` is its name.
void check_threshold(std::string_view op, double threshold, Semantics semantics, Where where,
                     std::string_view setting = "clip_norm");
/// The same of one that is known before the first step.
void check_threshold(std::string_view op, const Threshold& threshold, Semantics semantics,
                     std::string_view setting = "clip_norm");
/// The threshold of this step, checked.
double threshold_at(std::string_view op, const Threshold& threshold, const StepInfo& info,
                    Semantics semantics, std::string_view setting = "clip_norm");

/// Safe semantics: lo <= hi, none of them NaN.
void check_bounds(std::string_view op, double lo, double hi, Semantics semantics, Where where);

/// Throws unless the order is from 1 on, or infinity; and 2 where the semantics know no other.
void check_order(std::string_view op, double norm_type, Semantics semantics, Where where);

/// Throws unless lo <= value <= hi.
void check_range(std::string_view op, std::string_view setting, double value, double lo, double hi,
                 Where where = Where{});

/// A gradient whose norm can be taken: floating, and rows of its shape where it is sparse.
void check_gradient(std::string_view op, const Gradient& gradient, Where where);

/// What Keras and PyTorch do not take: a list with nothing in it.
void check_not_all_absent(std::string_view op, std::span<const Gradient> gradients,
                          Semantics semantics, Where where);

/// Throws InvalidArgument for a gradient of which other ranks hold parts (Gradients::partial).
void need_whole(std::string_view op, const Gradients& gradients);

/// Throws InvalidArgument for shards in other semantics than safe.
void check_shards(std::string_view op, const std::optional<Shards>& shards, Semantics semantics);

}  // namespace rein
