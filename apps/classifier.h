// Forward evaluation.
#pragma once

#include "model.h"
#include "rein/train/step.h"

namespace rein::app {

/// Runs the network over any number of images, always in batches of one size (the last one filled
/// up), so that the numbers do not depend on who asks.
class Classifier {
 public:
  Classifier(const RowLstm& model, int threads);
  /// images [n, rows, columns] -> [n, classes]
  Tensor logits(const Tensor& images);

 private:
  Function forward_;
};

/// The class of the largest logit of each row.
std::vector<int64_t> predictions(const Tensor& logits);

struct Accuracy {
  int64_t correct = 0, total = 0;
  double share() const { return static_cast<double>(correct) / static_cast<double>(total); }
};
Accuracy accuracy(const Tensor& logits, const Tensor& labels);
/// Whether they tell the classes apart, by their loss (RowLstm::kWorseThanGuessing) or at least by
/// twice as many hits.
bool better_than_guessing(const Tensor& logits, const Tensor& labels);
/// `test accuracy 0.8765 (8765 of 10000)`
std::string to_string(const Accuracy& accuracy);

}  // namespace rein::app
