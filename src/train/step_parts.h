// What a Step is made of.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "rein/apply/apply.h"
#include "rein/process/finite.h"
#include "rein/train/step.h"
#include "train/example_gradients.h"
#include "train/keeper.h"
#include "train/placed.h"
#include "train/ranks.h"
#include "train/step_shards.h"

namespace rein {

struct Step::Parts {
  ModelFunction cost;
  Variables& variables;
  AnyTransform process;
  AnyRule rule;
  StepOptions options;
  ThreadTeam team;
  size_t variable_count = 0;  // when the two states were made
  AnyTransform::State process_state;
  AnyRule::State rule_state;
  std::optional<GradientRecording> compute;
  std::optional<ExampleGradients> examples{};  // in place of `compute`
  int64_t step = 0;
  // Of the micro-batches since the last step.
  std::optional<Gradients> sum{};
  int64_t gathered = 0;
  double loss_sum = 0;
  int64_t clipped_sum = 0;  // examples
  // With sharpness.
  std::optional<Ascent> ascent{};
  std::vector<Tensor> metrics{};  // of the first computation
  // With a loss scale.
  double loss_scale = 1;
  int64_t fine_steps = 0;   // since it moved
  double proven_scale = 0;  // the largest at which a step was fine
  bool finite = true;       // loss and gradients of this step, before the user's transforms
  Tensor scale_input = Tensor::scalar(1.0);
  // With a loss scale or a Rollback: of the look at gradients in front of the user's transforms.
  // Nothing of it outlives a step.
  std::optional<CheckFinite::State> first_look{};
  std::vector<Tensor> inputs{};
  std::optional<Keeper> keeper{};
  std::optional<Ranks> ranks{};
  std::optional<Shards> shards{};
  Partial partial{};
  bool evaluating = false;  // parameters are averages
  bool profiled = false;
  OpTime process_time{.name = "process"}, apply_time{.name = "apply"};

  // Random ops draw anew for each step and each micro-batch of it.
  uint64_t draw() const {
    const int64_t micro_batch = ranks ? ranks->number_of(gathered) : gathered;
    return static_cast<uint64_t>(step + 1) + (static_cast<uint64_t>(micro_batch) << 52);
  }
  GradientRecording* recording() {
    return examples ? &examples->recording() : compute ? &*compute : nullptr;
  }
  Gradients& gradients() { return examples ? examples->gradients() : compute->gradients(); }
  /// Throws while parameters are averages.
  void need_own_parameters(std::string_view op, Where where) const {
    if (evaluating)
      throw InvalidArgument(op, "parameters are averages inside with_averages; go on after it",
                            where);
  }
  std::span<const Tensor> prepare(std::span<const Tensor> batch, Where where);
  double compute_gradients(std::span<const Tensor> all, Where where);
  void run_recording(std::span<const Tensor> all, Where where);
  void add_to_sum();
  /// What is remembered between steps, without the parameters.
  void save(StateDict& out, Unlisted unlisted);
  Settings saved_settings() const;
  Settings settings() const;  // what is secret included, as a fingerprint
  /// Calls f while the parameters are where `sharpness` takes them, given the gradients at their
  /// own place.
  template <class F>
  auto uphill(F&& f) {
    if (!ascent) ascent.emplace(variables);
    struct Descend {
      Parts& parts;
      ~Descend() { parts.ascent->descend(parts.variables); }
    } descend{*this};
    ascent->climb(variables, compute->gradients(), *options.sharpness);
    return f();
  }
  void keep_metrics();
  /// Whether the loss scale alone may be why gradients are not finite: it has still to come down.
  bool scale_is_unproven() const {
    return options.loss_scale && options.loss_scale->factor > 1 &&
           loss_scale > std::max(options.loss_scale->least, proven_scale);
  }
  void move_loss_scale();
  void look_first(Gradients& now, StepInfo& info);

  void make_states(Where where) {
    placed("record", where, [&] {
      AnyTransform::State made = process.init(variables);
      AnyRule::State of_rule = rule.init(variables);
      if (shards) partial = partial_variables(*shards, variables, rule, of_rule);
      rule_state = std::move(of_rule);
      process_state = std::move(made);
    });
    if (options.loss_scale || options.rollback) first_look = CheckFinite{}.init(variables);
    variable_count = variables.size();
    if (keeper) keeper->keep(variables, process_state, rule_state);
  }
};

}  // namespace rein
