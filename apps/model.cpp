#include "model.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace rein::app {

namespace {

double or_none(double clip) { return clip > 0 ? clip : std::numeric_limits<double>::infinity(); }

std::shared_ptr<const RNNCell> cell_of(Variables& variables, const TrainSettings& s) {
  const auto lstm = [&](const std::string& name) {
    return std::make_shared<BasicLSTMCell>(
        variables, name, s.hidden, s.hidden,
        BasicLSTMCellOptions{.forget_bias = s.forget_bias,
                             .cell_clip = or_none(s.cell_clip),
                             .step_clip = {.gates = or_none(s.error_clip)}});
  };
  if (s.layers == 1) return lstm("rnn");
  std::vector<std::shared_ptr<const RNNCell>> layers;
  for (int64_t i = 0; i < s.layers; ++i) layers.push_back(lstm("rnn_" + std::to_string(i)));
  return std::make_shared<MultiRNNCell>(std::move(layers));
}

}  // namespace

RowLstm::RowLstm(Variables& variables, const TrainSettings& s)
    : in_(variables, "hidden", kColumns, s.hidden),
      cell_(cell_of(variables, s)),
      out_(variables, "out", s.hidden, kClasses) {}

Value RowLstm::rows(Value images) const {
  return in_(reshape(transpose(images, {1, 0, 2}), {-1, kColumns}));
}

SequenceReport RowLstm::inspect(Value images) const {
  const Value x = rows(images);
  return rein::inspect(*cell_, reshape(x, {kRows, images.shape()[0], x.shape()[1]}));
}

Value RowLstm::logits(Value images) const {
  const Unrolled unrolled = static_rnn(*cell_, split(rows(images), kRows, {.axis = 0}));
  return out_(unrolled.outputs.back());
}

Value RowLstm::cost(Value images, Value labels) const {
  return reduce_mean(sparse_softmax_cross_entropy_with_logits(logits(images), labels));
}

}  // namespace rein::app
