// A cell of the matrix, trained without a Step: tape, transforms, `apply_updates`.
#pragma once

#include <optional>
#include <vector>

#include "rein/apply/sharpness.h"
#include "train/matrix_rows.h"
#include "train/model.h"

namespace rein::matrix {

/// What a training is made of.
struct Cell {
  Cell(const WrapperRow& w, const AnyRule& inner, AnyTransform (*p)())
      : wrapper(w), rule(w.around(inner)), process(p) {}

  const WrapperRow& wrapper;
  AnyRule rule;
  AnyTransform (*process)();

  const std::optional<LossScale>& loss_scale() const { return wrapper.options.loss_scale; }
  const std::optional<Rollback>& rollback() const { return wrapper.options.rollback; }
  const std::optional<PerExample>& per_example() const { return wrapper.options.per_example; }
};

struct Batch {
  Tensor x, y, ids;  // [4, 3], [4, 2], [4]

  Batch example(int64_t i) const;  // of one
};
/// Of one micro-batch of a step, those of rank 0 first. Their sizes differ, so that some are
/// clipped and some are not.
Batch batch(const WrapperRow& wrapper, int step, int part);

/// The loss of the SmallModel; per example, losses [batch] of about that size.
ModelFunction cost(const Cell& cell, const SmallModel& model);

using Weights = std::vector<std::vector<double>>;
using Course = std::vector<Weights>;  // after every step

class ByHand {
 public:
  explicit ByHand(const Cell& cell);

  Course run();

 private:
  void step(int t);
  void keep(Packed process);
  void go_back();
  double compute(const Batch& b, Gradients& gradients);
  double compute_examples(const Batch& b, Gradients& gradients);
  double compute_one(const Batch& b, Gradients& gradients);
  void uphill(const Batch& b, Gradients& gradients);

  const Cell& cell_;
  SmallModel model_;
  Ascent ascent_{model_.vars};
  ThreadTeam team_{1};
  AnyTransform process_ = cell_.process();
  AnyTransform::State process_state_;
  AnyRule rule_ = cell_.rule;
  AnyRule::State rule_state_;
  double loss_scale_ = 1;
  int64_t fine_ = 0;
  // With a Rollback.
  struct {
    Packed process{}, rule{};
    std::vector<Tensor> weights{};
  } kept_;
  int64_t healthy_ = 0;
};

}  // namespace rein::matrix
