#include "model.h"

namespace rein::app {

RowLstm::RowLstm(Variables& variables, int64_t hidden)
    : in_(variables, "hidden", kColumns, hidden),
      cell_(variables, "rnn", hidden, hidden, {.forget_bias = 1}),
      out_(variables, "out", hidden, kClasses) {}

Value RowLstm::logits(Value images) const {
  const Value rows = in_(reshape(transpose(images, {1, 0, 2}), {-1, kColumns}));
  const Unrolled unrolled = static_rnn(cell_, split(rows, kRows, {.axis = 0}));
  return out_(unrolled.outputs.back());
}

Value RowLstm::cost(Value images, Value labels) const {
  return reduce_mean(sparse_softmax_cross_entropy_with_logits(logits(images), labels));
}

}  // namespace rein::app
