#include "rein/nn/linear.h"

#include <fmt/format.h>

#include "new_variables.h"

namespace rein {

Linear::Linear(Variables& variables, std::string name, int64_t input_size, int64_t output_size,
               LinearOptions options, Where where)
    : weights_(variables.add(expect_new("Linear", variables, name,
                                        {"/weights", options.use_bias ? "/biases" : "/weights"},
                                        {input_size, output_size}, where) +
                                 "/weights",
                             {input_size, output_size}, options.weights, where)) {
  if (options.use_bias)
    biases_ = variables.add(name + "/biases", {output_size}, options.biases, where);
}

Value Linear::operator()(Value x, Where where) const {
  const int64_t input_size = weights_.shape()[0], output_size = weights_.shape()[1];
  const int rank = x.shape().rank();
  if (rank == 0 || x.shape().back() != input_size)
    throw InvalidArgument(
        "Linear",
        fmt::format("the last size of x must be the first of '{}', got {} and {}", weights_.name(),
                    to_string(x.shape()), to_string(weights_.shape())),
        where);
  Shape shape = x.shape();
  if (rank != 2) x = reshape(x, {-1, input_size}, where);
  Value y = matmul(x, weights_, {}, where);
  if (biases_) y = add(y, *biases_, where);
  if (rank == 2) return y;
  shape[rank - 1] = output_size;
  return reshape(y, shape, where);
}

}  // namespace rein
