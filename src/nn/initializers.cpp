#include "rein/nn/initializers.h"

#include <fmt/format.h>

#include <Eigen/QR>
#include <algorithm>
#include <cmath>

namespace rein {
namespace {

struct Fans {
  double in, out;
};

Fans fans(const Shape& shape) {
  const int rank = shape.rank();
  if (rank == 0) return {1, 1};
  const double out = static_cast<double>(shape.back());
  if (rank == 1) return {out, out};
  const double field = static_cast<double>(shape.size(0, rank - 2));
  return {field * static_cast<double>(shape[rank - 2]), field * out};
}

void fill_uniform(const RandomStream& random, double min, double max, std::span<double> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = min + (max - min) * random.uniform(i);
}

void fill_truncated(const RandomStream& random, double mean, double stddev, std::span<double> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    double x = random.normal(i);
    for (uint64_t index = i; std::abs(x) > 2; x = random.normal(index)) index += out.size();
    out[i] = mean + stddev * x;
  }
}

// The standard deviation of a standard normal number that is drawn again beyond 2.
const double kTruncated = 0.87962566103423978;

void expect(bool condition, std::string_view op, const std::string& what, Where where) {
  if (!condition) throw InvalidArgument(op, what, where);
}

}  // namespace

Initializer zeros() { return constant(0); }
Initializer ones() { return constant(1); }

Initializer constant(double value) {
  return [value](const Shape&, const RandomStream&, std::span<double> out) {
    std::ranges::fill(out, value);
  };
}

Initializer random_normal(double mean, double stddev, Where where) {
  expect(stddev >= 0, "random_normal", fmt::format("stddev is {}", stddev), where);
  return [mean, stddev](const Shape&, const RandomStream& random, std::span<double> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = mean + stddev * random.normal(i);
  };
}

Initializer random_uniform(double min, double max, Where where) {
  expect(min <= max, "random_uniform", fmt::format("min {} is not below max {}", min, max), where);
  return [min, max](const Shape&, const RandomStream& random, std::span<double> out) {
    fill_uniform(random, min, max, out);
  };
}

Initializer truncated_normal(double mean, double stddev, Where where) {
  expect(stddev >= 0, "truncated_normal", fmt::format("stddev is {}", stddev), where);
  return [mean, stddev](const Shape&, const RandomStream& random, std::span<double> out) {
    fill_truncated(random, mean, stddev, out);
  };
}

Initializer glorot_uniform() {
  return [](const Shape& shape, const RandomStream& random, std::span<double> out) {
    const auto [fan_in, fan_out] = fans(shape);
    const double limit = std::sqrt(6 / (fan_in + fan_out));
    fill_uniform(random, -limit, limit, out);
  };
}

Initializer glorot_normal() {
  return [](const Shape& shape, const RandomStream& random, std::span<double> out) {
    const auto [fan_in, fan_out] = fans(shape);
    fill_truncated(random, 0, std::sqrt(2 / (fan_in + fan_out)) / kTruncated, out);
  };
}

Initializer he_uniform() {
  return [](const Shape& shape, const RandomStream& random, std::span<double> out) {
    const double limit = std::sqrt(6 / fans(shape).in);
    fill_uniform(random, -limit, limit, out);
  };
}

Initializer he_normal() {
  return [](const Shape& shape, const RandomStream& random, std::span<double> out) {
    fill_truncated(random, 0, std::sqrt(2 / fans(shape).in) / kTruncated, out);
  };
}

Initializer orthogonal(double gain, Where where) {
  expect(std::isfinite(gain), "orthogonal", fmt::format("gain is {}", gain), where);
  return [gain, where](const Shape& shape, const RandomStream& random, std::span<double> out) {
    expect(shape.rank() >= 2, "orthogonal",
           fmt::format("needs at least two axes, got {}", to_string(shape)), where);
    const int64_t columns = shape.back(), rows = shape.size() / columns;
    // Of the tall one of the matrix and its transpose, the columns are made orthonormal.
    const bool wide = rows < columns;
    Eigen::MatrixXd a(std::max(rows, columns), std::min(rows, columns));
    for (Eigen::Index i = 0; i < a.size(); ++i)
      a.data()[i] = random.normal(static_cast<uint64_t>(i));
    const Eigen::HouseholderQR<Eigen::MatrixXd> qr(a);
    Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(a.rows(), a.cols());
    for (Eigen::Index k = 0; k < q.cols(); ++k)
      q.col(k) *= qr.matrixQR()(k, k) < 0 ? -gain : gain;  // so that R has a positive diagonal
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Eigen::Map<RowMajor> result(out.data(), rows, columns);
    if (wide)
      result = q.transpose();
    else
      result = q;
  };
}

}  // namespace rein
