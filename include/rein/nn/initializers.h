// How variables start. Fans of a matrix [in, out] are its sizes; of more axes, the product of the
// leading ones multiplies both, as in Keras. Factories throw InvalidArgument for settings that make
// no sense.
#pragma once

#include "rein/tensor/variables.h"

namespace rein {

Initializer zeros();
Initializer ones();
Initializer constant(double value);
/// Normal with this mean and standard deviation.
Initializer random_normal(double mean = 0, double stddev = 1, Where where = Where::here());
/// In [min, max).
Initializer random_uniform(double min, double max, Where where = Where::here());
/// Normal, drawn again beyond two standard deviations (which leaves 0.88 of `stddev`).
Initializer truncated_normal(double mean = 0, double stddev = 1, Where where = Where::here());
/// Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio 2010): TensorFlow's default.
Initializer glorot_uniform();
/// Normal, truncated, of variance 2 / (fan_in + fan_out).
Initializer glorot_normal();
/// Uniform in +-sqrt(6 / fan_in) (He et al. 2015).
Initializer he_uniform();
/// Normal, truncated, of variance 2 / fan_in.
Initializer he_normal();
/// Rows or columns (the shorter ones) orthonormal, times gain (Saxe et al. 2013): the Q of a QR
/// decomposition of normal numbers, signs made unique; leading axes are folded. It throws for a
/// shape of fewer than two axes.
Initializer orthogonal(double gain = 1, Where where = Where::here());

}  // namespace rein
