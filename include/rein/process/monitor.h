// Watches what clips do, step by step.
#pragma once

#include <memory>
#include <string_view>

#include "rein/base/error.h"
#include "rein/process/monitor_report.h"
#include "rein/process/transform.h"

namespace rein {

struct MonitorOptions {
  int64_t window = 256;  // steps that are remembered, at least 1
  int64_t every = 100;   // an update is measured in the first of each so many steps; 0: never
};

/// Remembers of the last `window` steps the norm of each variable's gradient before and after the
/// transforms that it is put around, and whether they clipped, skipped, or met numbers that are not
/// finite.
///
///     Monitor monitor;
///     Step train = record(cost, vars, monitor.around(ClipByGlobalNorm{.clip_norm = 5}), Adam{});
///     ...
///     fmt::print("{}", to_string(monitor.report()));
///     for (const Advice& advice : ClipAdvisor{}.advise(monitor.report())) ...
///
/// Norms are L2, or of the order p that the first of these transforms takes. "Before" and "after"
/// are as in StepInfo: before the first and after the last of them that takes norms, as every clip
/// does. It uses the norms that they take; a pass of its own over the gradients is made only in
/// steps in which something else than the factor of all of them has changed, or if none of them
/// takes norms (then once, behind them: after is before). A step that was skipped before it came to
/// them (for its loss scale, by a Rollback or a transform in front) counts too, with such a pass.
///
/// In the first of every `every` steps it copies the parameters and compares them with what they
/// are one step later: that is the update-to-weight ratio, whatever the rule.
///
/// Memory: 16 window + 128 bytes a variable and a copy of the parameters unless `every`
/// is 0. Nothing is allocated after the first comparison. A handle: copies watch together. One
/// monitor belongs to one Step, which empties it when it begins; a step that goes on after another
/// has begun with its monitor is an InvalidArgument. It is no part of what is saved of a step,
/// which can be loaded with one or without.
class Monitor {
 public:
  /// Throws InvalidArgument for options that make no sense.
  explicit Monitor(MonitorOptions options = {}, Where where = Where::here());

  class Around;
  /// The transform with this monitor around it.
  AnyTransform around(AnyTransform process) const;

  /// What goes on inside the sequence, to be reported and judged with the norms, in place of what
  /// was given before. Every few hundred steps, for `inspect` runs the cell step by step:
  ///
  ///     if (info.step % 500 == 0) {
  ///       GradientTape tape;
  ///       monitor.note(inspect(cell, tape.input(x)));
  ///     }
  void note(SequenceReport sequence);

  /// What is known up to now. Sorts: not for every step.
  MonitorReport report() const;

 private:
  struct Record;
  std::shared_ptr<Record> record_;
};

}  // namespace rein
