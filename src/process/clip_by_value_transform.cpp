#include <algorithm>
#include <atomic>
#include <cmath>

#include "process/check.h"
#include "process/measured.h"
#include "process/norm_blocks.h"
#include "rein/process/clip_by_value.h"

namespace rein {

static_assert(Transform<ClipByValue>);

namespace {

// In place; whether anything changed.
template <class T>
bool clip_numbers(std::span<T> x, T lo, T hi, Semantics semantics) {
  if (semantics == Semantics::keras && !(hi > 0)) return false;
  if (std::isnan(lo) || std::isnan(hi)) {  // safe refused it
    std::ranges::fill(x, std::numeric_limits<T>::quiet_NaN());
    return true;
  }
  // Of bounds the wrong way round TensorFlow's result is the lower, PyTorch's and Optax' the upper.
  if (semantics == Semantics::pytorch || semantics == Semantics::optax) lo = std::min(lo, hi);
  return kernels::clip_in_place(x.data(), lo, hi, x.size());
}

}  // namespace

ClipByValue::State ClipByValue::init(const Variables& variables) const {
  if (min.is_constant() && max.is_constant())
    check_bounds(name, min.at({}), max.at({}), semantics, Where{});
  return {Norms(variables), Norms(variables)};
}

void ClipByValue::update(Gradients& gradients, State& state, const Variables&,
                         StepInfo& info) const {
  const double lowest = min.at(info), highest = max.at(info);
  check_bounds(name, lowest, highest, semantics, Where{});
  std::atomic<bool> changed = false;
  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (semantics == Semantics::safe) gradients.merge_duplicates();
    settle<T>(gradients);
    const auto clip = [&](std::span<T> x) {
      if (clip_numbers(x, static_cast<T>(lowest), static_cast<T>(highest), semantics))
        changed = true;
    };
    for_each_block<T>(state.before, gradients, [&](size_t b, std::span<T> x) {
      state.before.of_block[b] = block_norm(std::span<const T>(x));
      clip(x);
      state.after.of_block[b] = block_norm(std::span<const T>(x));
    });
    join_blocks<T>(state.before, gradients);
    for (size_t i = 0; i < gradients.size(); ++i)
      if (gradients.kind(i) == Gradients::Kind::sparse) clip(gradients.stored<T>(i));
    join_blocks<T>(state.after, gradients);
  });
  state.before.report_non_finite(gradients, info);
  info.clipped |= changed;
  record_norms(info, state.before.global(), state.after.global());
}

}  // namespace rein
