#include "layouts.h"

#include "rein/compute/graph.h"

namespace golden {
namespace {

using rein::Value;
using rein::Values;

// Four blocks i, f, j, o along an axis as i, j, f, o.
Value reorder(Value gates, int axis) {
  const Values parts = rein::split(gates, 4, {axis});
  return rein::concat(Values{parts[0], parts[2], parts[1], parts[3]}, {axis});
}

Value zero_bias(const Value& kernel) {
  return kernel.graph().constant(rein::Tensor({kernel.shape()[1]}, kernel.dtype()));
}

}  // namespace

LstmWeights keras_lstm(Value kernel, Value recurrent, std::optional<Value> bias) {
  const Value joined = reorder(rein::concat(Values{kernel, recurrent}, {0}), 1);
  return {joined, bias ? reorder(*bias, 0) : zero_bias(joined)};
}

LstmWeights torch_lstm(Value weight_ih, Value weight_hh, std::optional<Value> bias_ih,
                       std::optional<Value> bias_hh) {
  std::optional<Value> bias;
  if (bias_ih && bias_hh) bias = *bias_ih + *bias_hh;
  return keras_lstm(rein::transpose(weight_ih), rein::transpose(weight_hh), bias);
}

}  // namespace golden
