// Help for the tests of stages 2 and 3: tensors and variables from lists of numbers.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "rein/tensor/variables.h"

namespace rein {

inline Tensor tensor(Shape shape, const std::vector<double>& values, DType dtype = DType::float32) {
  return Tensor::copy_of<double>(shape, values).cast(dtype);
}

inline Tensor vector(const std::vector<double>& values, DType dtype = DType::float32) {
  return tensor({static_cast<int64_t>(values.size())}, values, dtype);
}

inline Gradient rows(const std::vector<int64_t>& indices, Shape dense_shape,
                     const std::vector<double>& values, DType dtype = DType::float32) {
  Shape shape = dense_shape;
  shape[0] = static_cast<int64_t>(indices.size());
  return IndexedSlices{tensor(shape, values, dtype), Tensor::copy_of<int64_t>({shape[0]}, indices),
                       dense_shape};
}

inline std::vector<double> numbers(const Tensor& t) {
  const Tensor wide = t.cast(DType::float64);
  const auto flat = wide.flat<double>();
  return {flat.begin(), flat.end()};
}
inline std::vector<double> numbers(const Gradient& g) { return numbers(g.values()); }

inline Variable add_variable(Variables& vars, std::string name, Shape shape,
                             const std::vector<double>& values) {
  return vars.add(std::move(name), shape,
                  [&](const Shape&, const RandomStream&, std::span<double> out) {
                    std::copy(values.begin(), values.end(), out.begin());
                  });
}

inline double norm_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v * v;
  return std::sqrt(sum);
}

/// Pseudo-random numbers around 0.
inline std::vector<double> noise(size_t n, uint64_t stream = 0) {
  std::vector<double> out(n);
  const RandomStream random(Seed{7}, stream);
  for (size_t i = 0; i < n; ++i) out[i] = random.normal(i);
  return out;
}

}  // namespace rein
