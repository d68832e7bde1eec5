#include "rein/train/step.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>

#include "base/flush_denormals.h"
#include "rein/apply/apply.h"
#include "train/placed.h"

namespace rein {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<Spec> specs_of(std::span<const Tensor> tensors) {
  std::vector<Spec> specs;
  for (const Tensor& t : tensors) specs.push_back(t.spec());
  return specs;
}

}  // namespace

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
  int64_t step = 0;
  bool profiled = false;
  OpTime process_time{.name = "process"}, apply_time{.name = "apply"};

  void make_states(Where where) {
    placed("record", where, [&] {
      AnyTransform::State made = process.init(variables);
      rule_state = rule.init(variables);
      process_state = std::move(made);
    });
    variable_count = variables.size();
  }
};

Step::Step(ModelFunction cost, Variables& variables, AnyTransform process, AnyRule rule,
           StepOptions options, Where where) {
  if (options.threads < 0)
    throw InvalidArgument(
        "record",
        fmt::format("threads is {}; give their number, or 0 for all there are", options.threads),
        where);
  parts_.reset(new Parts{.cost = std::move(cost),
                         .variables = variables,
                         .process = std::move(process),
                         .rule = std::move(rule),
                         .options = options,
                         .team = ThreadTeam(options.threads),
                         .process_state = {},
                         .rule_state = {},
                         .compute = {}});
  parts_->make_states(where);
}
Step::~Step() = default;
Step::Step(Step&&) noexcept = default;
Step& Step::operator=(Step&&) noexcept = default;

StepInfo Step::run(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  if (!p.compute) {
    GradientRecording recorded(p.cost, specs_of(inputs), p.variables, p.team, p.options.seed,
                               where);
    if (p.variables.size() != p.variable_count) p.make_states(where);
    recorded.profile(p.profiled);
    p.compute.emplace(std::move(recorded));
  }
  const auto start = Clock::now();
  StepInfo info{.step = p.step + 1};

  p.compute->run(inputs, static_cast<uint64_t>(info.step), where);  // 1 compute
  info.loss = p.compute->loss();
  info.finite = std::isfinite(info.loss);
  Gradients& gradients = p.compute->gradients();
  gradients.team = &p.team;
  const FlushDenormals flush;
  const auto computed = Clock::now();
  placed("Step", where, [&] {
    p.process.update(gradients, p.process_state, p.variables, info);  // 2 process
  });
  const auto processed = Clock::now();
  placed("Step", where, [&] {
    apply_updates(p.variables, gradients, p.rule, p.rule_state, info, p.team);  // 3 apply
  });

  p.step = info.step;
  const auto applied = Clock::now();
  info.seconds = std::chrono::duration<double>(applied - start).count();
  if (p.profiled) {
    p.process_time.add(processed - computed);
    p.apply_time.add(applied - processed);
  }
  return info;
}

void Step::profile(bool on) {
  Parts& p = *parts_;
  p.profiled = on;
  p.process_time = {.name = "process"};
  p.apply_time = {.name = "apply"};
  if (p.compute) p.compute->profile(on);
}

std::vector<OpTime> Step::op_times() const {
  const Parts& p = *parts_;
  if (!p.profiled || !p.compute) return {};
  std::vector<OpTime> times = p.compute->recording().op_times();
  times.insert(times.end(), {p.process_time, p.apply_time});
  return times;
}

Tensor Step::metric(size_t i) const { return parts_->compute.value().metric(i).clone(); }
int64_t Step::step() const { return parts_->step; }
size_t Step::arena_bytes() const {
  return parts_->compute ? parts_->compute->recording().arena_bytes() : 0;
}
size_t Step::instruction_count() const {
  return parts_->compute ? parts_->compute->recording().instruction_count() : 0;
}

struct Function::Parts {
  ModelFunction function;
  StepOptions options;
  ThreadTeam team;
  std::optional<Recording> recording;
};

Function::Function(ModelFunction f, StepOptions options, int)
    : parts_(new Parts{std::move(f), options, ThreadTeam(options.threads), {}}) {}
Function::~Function() = default;
Function::Function(Function&&) noexcept = default;
Function& Function::operator=(Function&&) noexcept = default;

Tensor Function::run(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  if (!p.recording)
    p.recording.emplace(
        record_forward(p.function, specs_of(inputs), p.team, p.options.seed, where));
  p.recording->run(inputs, 0, where);
  return p.recording->output(0).clone();
}

}  // namespace rein
