// Loops over the numbers of all gradients, shared among a team.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rein/tensor/variables.h"

namespace rein {

/// Elements of the block that one thread takes at a time: many enough that memory is read in long
/// runs (jumps cost the processor's prefetching a third of its speed), where there are tasks enough
/// for all threads.
inline int64_t task_size(const Layout& layout) {
  constexpr int64_t kLeast = 16384, kMost = 262144, kTasks = 64;
  return std::clamp(static_cast<int64_t>(layout.size) / kTasks / kLeast * kLeast, kLeast, kMost);
}

template <class F>
void run_tasks(ThreadTeam* team, int64_t n_tasks, F&& task) {
  if (team) {
    team->run(n_tasks, task);
    return;
  }
  for (int64_t i = 0; i < n_tasks; ++i) task(i);
}

inline int64_t task_count(const Layout& layout) {
  return (static_cast<int64_t>(layout.size) + task_size(layout) - 1) / task_size(layout);
}

/// Calls f(variable, begin, end) for the part of every array that lies in task `task` of the block;
/// begin and end count from the start of the block. Padding is in no part.
template <class F>
void for_part_of_block(const Layout& layout, int64_t task, F&& f) {
  const auto first = static_cast<size_t>(task * task_size(layout));
  const size_t last = first + static_cast<size_t>(task_size(layout));
  auto entry = std::ranges::upper_bound(layout.entries, first, {}, &Layout::Entry::offset) - 1;
  for (; entry != layout.entries.end() && entry->offset < last; ++entry) {
    const size_t begin = std::max(first, entry->offset);
    const size_t end = std::min(last, entry->offset + entry->size);
    if (begin < end) f(static_cast<size_t>(entry - layout.entries.begin()), begin, end);
  }
}

/// Calls f(variable, numbers) for all stored numbers of gradients that are not absent, in pieces.
template <class T, class F>
void for_each_piece(Gradients& gradients, F&& f) {
  const Layout& layout = gradients.layout();
  run_tasks(gradients.team, task_count(layout), [&](int64_t task) {
    for_part_of_block(layout, task, [&](size_t i, size_t begin, size_t end) {
      if (gradients.kind(i) == Gradients::Kind::dense)
        f(i, gradients.dense<T>(i).subspan(begin - layout.entries[i].offset, end - begin));
    });
  });
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients.kind(i) == Gradients::Kind::sparse) f(i, gradients.stored<T>(i));
}

}  // namespace rein
