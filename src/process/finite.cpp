#include "rein/process/finite.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "base/number_text.h"
#include "process/measured.h"
#include "process/pieces.h"
#include "rein/process/transform.h"

namespace rein {

static_assert(Transform<CheckFinite>);

std::string_view to_string(NonFinite policy) {
  switch (policy) {
    case NonFinite::propagate:
      return "propagate";
    case NonFinite::zero:
      return "zero";
    case NonFinite::skip:
      return "skip";
    case NonFinite::stop:
      break;
  }
  return "stop";
}

namespace {

template <class T>
void zero_non_finite(Gradients& gradients) {
  for_each_piece<T>(gradients, [](size_t, std::span<T> x) {
    for (T& v : x)
      if (!std::isfinite(v)) v = 0;
  });
}

std::string reason(const StepInfo& info, double norm, double limit) {
  if (!info.non_finite.empty())
    return fmt::format("the gradient of '{}' is not finite", info.non_finite);
  if (!std::isfinite(info.loss)) return "the loss is not finite, though its gradients are,";
  return fmt::format("the global norm is {}, more than {}", norm, limit);
}

}  // namespace

CheckFinite::State CheckFinite::init(const Variables& variables) const {
  if (!(skip_above >= 0))
    throw InvalidArgument(
        name, fmt::format("skip_above must be a number from 0 on, got {}", skip_above), Where{});
  if (most_skips < 0)
    throw InvalidArgument(
        name, fmt::format("most_skips must be a number from 0 on, got {}", most_skips), Where{});
  return {.norms = Norms(variables, 2, shards, name)};
}

void CheckFinite::update(Gradients& gradients, State& state, const Variables&,
                         StepInfo& info) const {
  state.norms.take(gradients);
  state.norms.report_non_finite(gradients, info);
  const double norm = state.norms.global();
  info.finite &= std::isfinite(info.loss);
  const bool finite = std::isfinite(norm) && std::isfinite(info.loss);
  std::optional<double> factor = 1;  // of what it does to the gradient
  const bool too_large = std::isfinite(norm) && norm > skip_above;
  if (!finite && policy == NonFinite::stop)
    throw NonFiniteError(fmt::format(
        "{}: {} at step {} (loss {}); nothing was changed. Lower the learning rate, clip, or let "
        "the policy be skip; Step::find_non_finite says where it began",
        name, reason(info, norm, skip_above), info.step, number_text(info.loss)));

  if ((!finite && policy == NonFinite::skip) || too_large) {
    if (most_skips > 0 && state.in_a_row >= most_skips)
      throw NonFiniteError(fmt::format(
          "{}: {} at step {} (loss {}), and {} steps before it were skipped in a row; nothing was "
          "changed. Go back to parameters that were healthy, with a lower learning rate",
          name, reason(info, norm, skip_above), info.step, number_text(info.loss), state.in_a_row));
    ++state.in_a_row;
    ++state.skipped;
    info.skip = true;
  } else if (!finite && policy == NonFinite::zero) {
    visit_float(gradients.dtype(), [&](auto zero) { zero_non_finite<decltype(zero)>(gradients); });
    state.norms.take(gradients);
    factor.reset();
  }
  record_norms(info, norm, state.norms.global(), 2, factor);
}

void CheckFinite::remember(State& state) const { state.in_a_row = 0; }

}  // namespace rein
