#include "rein/process/norms.h"

#include <cmath>

#include "process/l2.h"
#include "process/pieces.h"
#include "process/sparse.h"
#include "rein/kernels/norm.h"

namespace rein {

Norms::Norms(const Variables& variables) : each_(variables.size(), 0.0) {
  const auto& entries = variables.layout().entries;
  size_t in_task = kNormBlock;  // small variables share a task
  for (size_t i = 0; i < entries.size(); ++i)
    for (size_t at = 0; at < entries[i].size; at += kNormBlock) {
      if (in_task >= kNormBlock) tasks_.push_back(blocks_.size()), in_task = 0;
      blocks_.push_back({i, at, std::min(kNormBlock, entries[i].size - at)});
      in_task += blocks_.back().size;
    }
  tasks_.push_back(blocks_.size());
  sums_.resize(blocks_.size());
}

void Norms::take(Gradients& gradients) {
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Gradients& g = gradients;
    run_tasks(gradients.team, static_cast<int64_t>(tasks_.size()) - 1, [&](int64_t task) {
      const auto t = static_cast<size_t>(task);
      for (size_t b = tasks_[t]; b < tasks_[t + 1]; ++b)
        if (g.kind(blocks_[b].variable) == Gradients::Kind::dense)
          sums_[b] = kernels::sum_of_squares(
              g.dense<T>(blocks_[b].variable).data() + blocks_[b].begin, blocks_[b].size);
    });
    size_t b = 0;
    const double scale = std::abs(gradients.scale);
    for (size_t i = 0; i < each_.size(); ++i) {
      double sum = 0;
      for (; b < blocks_.size() && blocks_[b].variable == i; ++b) sum += sums_[b];
      switch (g.kind(i)) {
        case Gradients::Kind::absent:
          each_[i] = 0;
          break;
        case Gradients::Kind::dense:
          each_[i] = scale * root(sum, g.dense<T>(i));
          break;
        case Gradients::Kind::sparse:
          merge_in_place(gradients.sparse(i));
          each_[i] = scale * l2_norm(g.stored<T>(i));
          break;
      }
    }
  });
}

double Norms::global() const { return joint_norm(each_); }

void Norms::report_non_finite(const Gradients& gradients, StepInfo& info) const {
  if (!info.finite) return;
  for (size_t i = 0; i < each_.size(); ++i)
    if (!std::isfinite(each_[i])) {
      info.finite = false;
      info.non_finite = gradients.name(i);
      return;
    }
}

}  // namespace rein
