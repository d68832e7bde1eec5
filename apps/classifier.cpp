#include "classifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "rein/compute/tape.h"

namespace rein::app {
namespace {

constexpr int64_t kBatch = 250;

}  // namespace

Classifier::Classifier(const RowLstm& model, int threads)
    : forward_([&model](Value images) { return model.logits(images); }, {.threads = threads}) {}

Tensor Classifier::logits(const Tensor& images) {
  const int64_t n = images.shape()[0];
  Tensor all({n, RowLstm::kClasses});
  for (int64_t first = 0; first < n; first += kBatch) {
    const int64_t count = std::min(kBatch, n - first);
    Tensor batch({kBatch, RowLstm::kRows, RowLstm::kColumns});
    const auto part = [&](const Tensor& t) {
      Shape shape = t.shape();
      shape[0] = count;
      return t.piece(first * shape.size(1, shape.rank()), shape);
    };
    const Tensor from = part(images);
    std::memcpy(batch.data(), from.data(), from.spec().bytes());
    const Tensor result = forward_(batch);
    Tensor to = part(all);
    std::memcpy(to.data(), result.data(), to.spec().bytes());
  }
  return all;
}

std::vector<int64_t> predictions(const Tensor& logits) {
  const auto classes = static_cast<size_t>(logits.shape().back());
  const auto values = logits.flat<float>();
  std::vector<int64_t> found;
  for (size_t i = 0; i < values.size(); i += classes) {
    const auto row = values.subspan(i, classes);
    found.push_back(std::ranges::max_element(row) - row.begin());
  }
  return found;
}

Accuracy accuracy(const Tensor& logits, const Tensor& labels) {
  const auto found = predictions(logits);
  const auto wanted = labels.flat<int32_t>();
  Accuracy result{.total = static_cast<int64_t>(found.size())};
  for (size_t i = 0; i < found.size(); ++i) result.correct += found[i] == wanted[i];
  return result;
}

bool better_than_guessing(const Tensor& logits, const Tensor& labels) {
  GradientTape tape;
  const Value losses =
      sparse_softmax_cross_entropy_with_logits(tape.input(logits), tape.input(labels));
  return reduce_mean(losses).tensor().item() < RowLstm::kWorseThanGuessing ||
         accuracy(logits, labels).share() > 2.0 / RowLstm::kClasses;
}

std::string to_string(const Accuracy& a) {
  return fmt::format("test accuracy {:.4f} ({} of {})", a.share(), a.correct, a.total);
}

}  // namespace rein::app
