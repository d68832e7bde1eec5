// A dense layer.
#pragma once

#include <optional>
#include <string>

#include "rein/compute/ops.h"
#include "rein/nn/initializers.h"

namespace rein {

struct LinearOptions {
  bool use_bias = true;
  Initializer weights = glorot_uniform();
  Initializer biases = zeros();
};

/// x W + b: variables `name/weights` [input_size, output_size] and `name/biases` [output_size].
class Linear final {
 public:
  Linear(Variables& variables, std::string name, int64_t input_size, int64_t output_size,
         LinearOptions options = {}, Where where = Where::here());
  /// x [..., input_size] -> [..., output_size]
  Value operator()(Value x, Where where = Where::here()) const;

 private:
  Variable weights_;
  std::optional<Variable> biases_;
};

}  // namespace rein
