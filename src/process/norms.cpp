#include "rein/process/norms.h"

#include <cmath>
#include <utility>

#include "process/l2.h"
#include "process/norm_blocks.h"
#include "process/patterns.h"

namespace rein {

Norms::Norms(const Variables& variables, double order_)
    : of_variable(variables.size()), order(order_) {
  const auto& entries = variables.layout().entries;
  for (const auto& entry : entries) elements.push_back(static_cast<double>(entry.size));
  const auto most = static_cast<size_t>(task_size(variables.layout()));
  size_t in_task = most;
  for (size_t i = 0; i < entries.size(); ++i)
    for (size_t at = 0; at < entries[i].size; at += kNormBlock) {
      if (in_task >= most) {
        tasks.push_back(blocks.size());
        in_task = 0;
      }
      blocks.push_back({i, at, std::min(kNormBlock, entries[i].size - at)});
      in_task += blocks.back().size;
    }
  tasks.push_back(blocks.size());
  of_block.resize(blocks.size());
}

Norms::Norms(const Variables& variables, double order_, const std::optional<Shards>& shards,
             std::string_view op)
    : Norms(variables, order_) {
  if (!shards) return;
  if (!shards->communicator)
    throw InvalidArgument(op, "shards have no communicator; name that of the parts", Where{});
  parts.communicator = shards->communicator;
  const std::vector<std::string_view> patterns(shards->patterns.begin(), shards->patterns.end());
  const std::vector<size_t> found = first_matches(op, patterns, variables);
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] < patterns.size()) parts.variables.push_back(i);
}

void Norms::join(const Partial& p, const Layout& layout) {
  const auto ranks = static_cast<size_t>(p.communicator->size());
  const auto rank = static_cast<size_t>(p.communicator->rank());
  const size_t n = p.variables.size();
  of_rank.assign((ranks + 1) * n, 0);
  for (size_t k = 0; k < n; ++k) {
    of_rank[k * ranks + rank] = of_variable[p.variables[k]];
    of_rank[n * ranks + k] = static_cast<double>(layout.entries[p.variables[k]].size);
  }
  p.communicator->all_reduce(std::span(of_rank));
  for (size_t k = 0; k < n; ++k) {
    of_variable[p.variables[k]] = joint_norm(std::span(of_rank).subspan(k * ranks, ranks), order);
    elements[p.variables[k]] = of_rank[n * ranks + k];
  }
}

template <class T>
void join_blocks(Norms& norms, Gradients& gradients) {
  const double scale = std::abs(gradients.scale);
  size_t first = 0;
  for (size_t i = 0; i < norms.of_variable.size(); ++i) {
    size_t last = first;
    while (last < norms.blocks.size() && norms.blocks[last].variable == i) ++last;
    double norm = 0;
    if (gradients.kind(i) == Gradients::Kind::dense)
      norm = joint_norm(std::span(norms.of_block).subspan(first, last - first), norms.order);
    else if (gradients.kind(i) == Gradients::Kind::sparse)
      norm = p_norm(std::as_const(gradients).stored<T>(i), norms.order);
    norms.of_variable[i] = scale * norm;
    first = last;
  }
  if (gradients.partial)
    norms.join(*gradients.partial, gradients.layout());
  else if (norms.parts.communicator)
    norms.join(norms.parts, gradients.layout());
}
template void join_blocks<float>(Norms&, Gradients&);
template void join_blocks<double>(Norms&, Gradients&);

void Norms::take(Gradients& gradients) {
  gradients.merge_duplicates();
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for_each_block<T>(*this, gradients,
                      [&](size_t b, std::span<const T> x) { of_block[b] = block_norm(x, order); });
    join_blocks<T>(*this, gradients);
  });
}

double Norms::global() const { return joint_norm(of_variable, order); }

void Norms::leave_with(Norms* to) const {
  if (!to || !to->of_variable.empty()) return;
  to->of_variable = of_variable;
  to->order = order;
  to->parts = parts;
}

void Norms::report_non_finite(const Gradients& gradients, StepInfo& info) const {
  leave_with(info.norms_wanted);
  for (size_t i = 0; i < of_variable.size() && info.non_finite.empty(); ++i)
    if (!std::isfinite(of_variable[i])) {
      info.finite = false;
      info.non_finite = gradients.name(i);
    }
}

}  // namespace rein
