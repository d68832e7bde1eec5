// The safe L2 norm: neither overflow nor underflow, one order of adding.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace rein {

/// Elements whose squares are added up before anything else joins.
inline constexpr size_t kNormBlock = 16384;

/// The norm, `sum` being the sum of the squares of `x` as double arithmetic gave it.
double root(double sum, std::span<const float> x);
double root(double sum, std::span<const double> x);

double l2_norm(std::span<const float> x);
double l2_norm(std::span<const double> x);

/// sqrt of the sum of squares of norms. Of one norm: that norm, to the bit.
double joint_norm(std::span<const double> norms);

/// What a clip by norm multiplies by: 1 where nothing is to be clipped, and where the norm is not
/// finite (there is no length to shorten; scaling by 0 would lose the finite numbers beside it).
double scale_to(double norm, double clip_norm);

}  // namespace rein
