#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "process/check.h"
#include "process/measured.h"
#include "process/norm_blocks.h"
#include "rein/process/clip_by_history.h"

namespace rein {

static_assert(Transform<ClipSpikes>);

ClipSpikes::State ClipSpikes::init(const Variables& variables) const {
  check_range(name, "theta", theta, 0, std::numeric_limits<double>::max());
  check_range(name, "beta2", beta2, 0, 1);
  return {.root = Slot("spike_root", variables),
          .coming = Slot("spike_root", variables),
          .pieces = {},
          .all = false,
          .before = Norms(variables),
          .after = Norms(variables)};
}

void ClipSpikes::update(Gradients& gradients, State& state, const Variables&,
                        StepInfo& info) const {
  const kernels::SpikeNumbers settings{std::sqrt(theta), beta2};
  std::atomic<bool> changed = false;
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    gradients.merge_duplicates();
    settle<T>(gradients);
    const T* const root = state.root.data<T>();
    T* const coming = state.coming.data<T>();
    state.pieces.clear();
    state.all = true;
    const auto will_be_written = [&](size_t offset, size_t n) {
      state.pieces.push_back({offset * sizeof(T), n * sizeof(T)});
    };
    for_each_block<T>(state.before, gradients, [&](size_t b, std::span<T> x) {
      const Norms::Block& block = state.before.blocks[b];
      const size_t offset = gradients.layout().entries[block.variable].offset + block.begin;
      state.before.of_block[b] = block_norm(std::span<const T>(x));
      state.after.of_block[b] = state.before.of_block[b];
      if (kernels::clip_spikes(x.data(), root + offset, coming + offset, settings, x.size())) {
        changed = true;
        state.after.of_block[b] = block_norm(std::span<const T>(x));
      }
    });
    join_blocks<T>(state.before, gradients);
    for (size_t i = 0; i < gradients.size(); ++i) {
      const size_t first = gradients.layout().entries[i].offset;
      state.all &= gradients.kind(i) == Gradients::Kind::dense;
      if (gradients.kind(i) == Gradients::Kind::absent) continue;
      const auto x = gradients.stored<T>(i);
      if (gradients.kind(i) == Gradients::Kind::dense) {
        will_be_written(first, x.size());
        continue;
      }
      const auto rows = gradients.sparse(i).indices.template flat<int64_t>();
      const size_t width = rows.empty() ? 0 : x.size() / rows.size();
      for (size_t k = 0; k < rows.size(); ++k) {
        const size_t offset = first + static_cast<size_t>(rows[k]) * width;
        will_be_written(offset, width);
        if (kernels::clip_spikes(x.data() + k * width, root + offset, coming + offset, settings,
                                 width))
          changed = true;
      }
    }
    join_blocks<T>(state.after, gradients);
  });
  state.before.report_non_finite(gradients, info);
  info.clipped |= changed;
  record_norms(info, state.before.global(), state.after.global());
}

void ClipSpikes::remember(State& state) const {
  if (std::exchange(state.all, false)) return std::swap(state.root, state.coming);
  for (const auto& [begin, size] : state.pieces)
    std::memcpy(state.root.data<std::byte>() + begin, state.coming.data<std::byte>() + begin, size);
}

}  // namespace rein
