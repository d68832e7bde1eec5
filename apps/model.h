// The network that the program trains.
#pragma once

#include <memory>
#include <numbers>

#include "rein/nn/cell.h"
#include "rein/nn/inspect.h"
#include "rein/nn/linear.h"
#include "train_settings.h"

namespace rein::app {

/// Reads an image row by row: rows -> linear layer -> LSTM -> last output -> linear layer.
/// Variables hidden/weights, hidden/biases, rnn/kernel, rnn/bias, out/weights, out/biases; of
/// several layers rnn_0/kernel, rnn_0/bias, rnn_1/kernel, ...
class RowLstm {
 public:
  static constexpr int64_t kRows = 28, kColumns = 28, kClasses = 10;
  /// The loss of a guess that finds all classes as likely, log(kClasses), and a tenth more: a
  /// network above it has learned nothing, or forgotten it.
  static constexpr double kWorseThanGuessing = 1.1 * std::numbers::ln10;

  RowLstm(Variables& variables, const TrainSettings& settings);

  /// images [batch, kRows, kColumns] -> [batch, kClasses]
  Value logits(Value images) const;
  /// How gradients come back through the rows; images on a tape.
  SequenceReport inspect(Value images) const;
  /// Mean cross entropy; labels [batch].
  Value cost(Value images, Value labels) const;

 private:
  Value rows(Value images) const;  // [rows batch, hidden]

  Linear in_;
  std::shared_ptr<const RNNCell> cell_;
  Linear out_;
};

}  // namespace rein::app
