#include "watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "rein/compute/tape.h"
#include "rein/process/clip_advisor.h"

namespace rein::app {
namespace {

constexpr int64_t kImages = 64;  // inside of which it looks

// There is a limit, and it has not acted: a larger one is no news.
bool is_guarded(const Advice& advice, const TrainSettings& settings) {
  return advice.kind == AdviceKind::never_clips && settings.clip != "none";
}

// With what the program does what an advice says, where it is not done already.
std::string flags_for(const Advice& advice, const TrainSettings& settings) {
  if (advice.clip_norm) return fmt::format(" (--clip global:{:.3g})", *advice.clip_norm);
  switch (advice.kind) {
    case AdviceKind::non_finite:
      return settings.non_finite.starts_with("skip") || settings.rollback != "none"
                 ? " (--non-finite stop ends at the first, and 'rein replay' says where it began)"
                 : " (--non-finite skip)";
    case AdviceKind::vanishing:
      return fmt::format(" (--forget-bias {:.3g})", settings.forget_bias + 1);
    case AdviceKind::exploding:
      return " (--clip global:C, --error-clip)";
    default:
      return {};
  }
}

}  // namespace

JsonObject Watch::look_inside(const RowLstm& model, const Tensor& images) {
  Shape some = images.shape();
  some[0] = std::min(some[0], kImages);
  GradientTape tape;
  const SequenceReport report = model.inspect(tape.input(images.piece(0, some)));
  JsonObject told;
  for (const GradientByLag& state : report.states)
    told.emplace_back("gradient_by_lag_" + state.state, state.by_lag);
  std::vector<double> closed, open;  // i, j, f, o, of each layer
  for (const GateReport& gate : report.gates) {
    closed.push_back(gate.closed);
    open.push_back(gate.open);
  }
  told.emplace_back("gates_closed", closed);
  told.emplace_back("gates_open", open);
  monitor_.note(report);
  return told;
}

std::string Watch::advice(const TrainSettings& settings) const {
  std::string lines;
  for (const Advice& advice : ClipAdvisor{}.advise(monitor_.report())) {
    if (advice.kind == AdviceKind::too_few_steps || is_guarded(advice, settings)) continue;
    lines += fmt::format("advice: {}{}\n", advice.text, flags_for(advice, settings));
  }
  return lines;
}

}  // namespace rein::app
