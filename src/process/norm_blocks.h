// The two halves of Norms::take, for transforms that do more with a block while it is in the cache.
#pragma once

#include "process/pieces.h"
#include "rein/process/norms.h"

namespace rein {

/// Calls f(block, numbers) for every block of every dense gradient.
template <class T, class F>
void for_each_block(const Norms& norms, Gradients& gradients, F&& f) {
  run_tasks(gradients.team, static_cast<int64_t>(norms.tasks.size()) - 1, [&](int64_t task) {
    const auto t = static_cast<size_t>(task);
    for (size_t b = norms.tasks[t]; b < norms.tasks[t + 1]; ++b) {
      const Norms::Block& block = norms.blocks[b];
      if (gradients.kind(block.variable) == Gradients::Kind::dense)
        f(b, gradients.dense<T>(block.variable).subspan(block.begin, block.size));
    }
  });
}

/// From norms.of_block, and the values of sparse gradients, to norms.of_variable.
template <class T>
void join_blocks(Norms& norms, Gradients& gradients);

}  // namespace rein
