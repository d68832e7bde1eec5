// The safe norms: in double, without overflow and underflow, in one order.
#pragma once

#include <cstddef>
#include <span>

namespace rein {

/// Elements whose squares are added up before anything else joins.
inline constexpr size_t kNormBlock = 16384;

/// Whether a sum of squares, or of other powers, of doubles is right: between these none
/// overflowed, and those that vanished or lost bits do not count.
inline bool keeps_powers(double sum) { return sum > 1e-280 && sum < 1e300; }

/// The norm of at most one block of numbers; not finite exactly when one of them is not.
double block_norm(std::span<const float> x);
double block_norm(std::span<const double> x);

/// The norm of several things together, from the norm of each, which come one by one. Of one: that
/// norm, to the bit. Squares are added in the order in which norms come, scaled by a power of two,
/// so that nothing overflows.
class JointNorm {
 public:
  void add(double norm);
  double value() const;

 private:
  double largest_ = 0, factor_ = 1, sum_ = 0;  // sum_ is of (norm factor_)^2
};
double joint_norm(std::span<const double> norms);

/// The same of order p >= 1, or infinity.
double block_norm(std::span<const float> x, double order);
double block_norm(std::span<const double> x, double order);
double joint_norm(std::span<const double> norms, double order);

/// Of any number: the joint norm of its blocks.
double l2_norm(std::span<const float> x);
double l2_norm(std::span<const double> x);
double p_norm(std::span<const float> x, double order);
double p_norm(std::span<const double> x, double order);

/// What a clip by norm multiplies by: 1 where nothing is to be clipped, and where the norm is not
/// finite (there is no length to shorten, and 0 would lose the finite numbers beside it).
double scale_to(double norm, double clip_norm);

/// The power of two that brings the largest of some positive numbers near 1: what multiplies before
/// squares are added, exactly.
double unit_factor(double largest);

}  // namespace rein
