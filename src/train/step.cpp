#include "rein/train/step.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "apply/halves.h"
#include "apply/parameter_writer.h"
#include "base/flush_denormals.h"
#include "rein/compute/ops.h"
#include "train/step_parts.h"

namespace rein {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<Spec> specs_of(std::span<const Tensor> tensors) {
  std::vector<Spec> specs;
  for (const Tensor& t : tensors) specs.push_back(t.spec());
  return specs;
}

}  // namespace

namespace {

void check(const LossScale& s, Where where) {
  const auto need = [&](bool fine, const char* setting, const char* wish, double got) {
    if (!fine)
      throw InvalidArgument(
          "record", fmt::format("loss_scale.{} must be {}, got {}", setting, wish, got), where);
  };
  need(s.least > 0 && std::isfinite(s.least), "least", "a positive number", s.least);
  need(s.most >= s.least && std::isfinite(s.most), "most", "finite and not below least", s.most);
  need(s.initial >= s.least && s.initial <= s.most, "initial", "between least and most", s.initial);
  need(s.factor >= 1 && std::isfinite(s.factor), "factor", "a number from 1 on", s.factor);
  need(s.growth_interval >= 0, "growth_interval", "a number of steps, or 0",
       static_cast<double>(s.growth_interval));
}

// The loss scale comes as one more input.
ModelFunction with_scaled_loss(ModelFunction cost) {
  return [cost = std::move(cost)](std::span<const Value> in) {
    Values out = cost(in.first(in.size() - 1));
    if (!out.empty() && out[0].defined()) out[0] = out[0] * cast(in.back(), out[0].dtype());
    return out;
  };
}

}  // namespace

void detail::need_inputs(size_t takes, size_t given) {
  if (takes != given)
    throw InvalidArgument(
        "record",
        fmt::format("the model is a function of {} inputs, it is called with {}", takes, given),
        Where{});
}

Step::Step(ModelFunction cost, Variables& variables, AnyTransform process, AnyRule rule,
           StepOptions options, Where where) {
  if (options.threads < 0)
    throw InvalidArgument(
        "record",
        fmt::format("threads is {}; give their number, or 0 for all there are", options.threads),
        where);
  require_possible(options.products, where);
  if (options.batch_axis && *options.batch_axis < 0)
    throw InvalidArgument(
        "record", fmt::format("batch_axis is {}; count axes from 0", *options.batch_axis), where);
  if (options.sharpness)
    for (const auto& [setting, value] :
         {std::pair{"rho", options.sharpness->rho}, std::pair{"eta", options.sharpness->eta}})
      if (!(value >= 0 && std::isfinite(value)))
        throw InvalidArgument(
            "record",
            fmt::format("sharpness.{} must be a finite number from 0 on, got {}", setting, value),
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
  if (options.per_example) {
    check(*options.per_example, where);
    if (options.loss_scale || options.sharpness)
      throw InvalidArgument("record", "per_example takes no loss_scale and no sharpness beside it",
                            where);
  }
  if (options.loss_scale) {
    check(*options.loss_scale, where);
    parts_->loss_scale = options.loss_scale->initial;
    parts_->cost = with_scaled_loss(std::move(parts_->cost));
  }
  parts_->shards = joint_shards(parts_->process, parts_->rule, options, where);
  if (options.communicator) parts_->ranks.emplace(*options.communicator);
  if (options.rollback) parts_->keeper.emplace(*options.rollback, parts_->rule, where);
  parts_->make_states(where);
}
Step::~Step() = default;
Step::Step(Step&&) noexcept = default;
Step& Step::operator=(Step&&) noexcept = default;

// All inputs of the recording, which is made if there is none yet.
std::span<const Tensor> Step::Parts::prepare(std::span<const Tensor> batch, Where where) {
  need_own_parameters("Step", where);
  std::span<const Tensor> all = batch;
  if (options.loss_scale) {
    if (compute && batch.size() + 1 != compute->recording().input_count())
      throw InvalidArgument("Step",
                            fmt::format("{} inputs, recorded with {}", batch.size(),
                                        compute->recording().input_count() - 1),
                            where);
    scale_input.flat<double>()[0] = loss_scale;
    inputs.assign(batch.begin(), batch.end());
    inputs.push_back(scale_input);
    all = inputs;
  }
  if (recording()) return all;
  if (const auto axis = options.batch_axis;
      axis && (batch.empty() || batch[0].shape().rank() <= *axis))
    throw InvalidArgument(
        "record",
        fmt::format("batch_axis is {}, but {}", *axis,
                    batch.empty() ? "there is no input"
                                  : "the first input is " + to_string(batch[0].spec())),
        where);
  const auto keep = [&](auto& place, auto made) {
    if (variables.size() != variable_count) make_states(where);
    place.emplace(std::move(made));
    recording()->profile(profiled);
  };
  if (options.per_example)
    keep(examples, ExampleGradients(cost, specs_of(all), variables, team,
                                    {options.seed, options.products}, *options.per_example, where));
  else
    keep(compute, GradientRecording(cost, specs_of(all), variables, team,
                                    {options.seed, options.products}, where));
  return all;
}

// The gradients without the loss scale.
void Step::Parts::run_recording(std::span<const Tensor> all, Where where) {
  compute->run(all, draw(), where);
  compute->gradients().scale = 1 / loss_scale;
  compute->gradients().team = &team;
}

// Stage 1 for one micro-batch: the loss, and the gradients.
double Step::Parts::compute_gradients(std::span<const Tensor> all, Where where) {
  if (examples) {
    examples->run(all, draw(), where);
    examples->gradients().team = &team;
    return examples->loss();
  }
  run_recording(all, where);
  const double loss = compute->loss() / loss_scale;
  if (!options.sharpness) return loss;
  keep_metrics();
  uphill([&] { run_recording(all, where); });
  return loss;
}

// Those of the first computation, before the second.
void Step::Parts::keep_metrics() {
  for (size_t i = 0; i < compute->metric_count(); ++i) {
    const Tensor now = compute->metric(i);
    if (i == metrics.size())
      metrics.push_back(now.clone());
    else
      std::memcpy(metrics[i].data(), now.data(), now.spec().bytes());
  }
}

// Before a transform can spoil what the loss scale did not. A Rollback decides alone; policies of
// the user's own come in once the loss scale is not to blame.
void Step::Parts::look_first(Gradients& now, StepInfo& info) {
  const bool skips = options.rollback || !process.decides_non_finite() || scale_is_unproven();
  const CheckFinite check{.policy = skips ? NonFinite::skip : NonFinite::propagate};
  check.update(now, *first_look, variables, info);
  finite = info.finite;
}

void Step::Parts::add_to_sum() {
  const Gradients& now = gradients();
  if (!sum) sum.emplace(variables);
  if (gathered == 0)
    for (size_t i = 0; i < sum->size(); ++i) sum->set_kind(i, Gradients::Kind::absent);
  sum->add(now);
  sum->scale = now.scale / static_cast<double>(gathered + 1);
  sum->team = &team;
}

void Step::Parts::move_loss_scale() {
  const LossScale& s = *options.loss_scale;
  if (!finite) {
    loss_scale = std::max(s.least, loss_scale / s.factor);
    fine_steps = 0;
    return;
  }
  proven_scale = std::max(proven_scale, loss_scale);
  if (++fine_steps == s.growth_interval) {
    loss_scale = std::min(s.most, loss_scale * s.factor);
    fine_steps = 0;
  }
}

double Step::accumulate_all(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  const double loss = p.compute_gradients(p.prepare(inputs, where), where);
  p.add_to_sum();
  ++p.gathered;
  p.loss_sum += loss;
  if (p.examples) p.clipped_sum += p.examples->clipped();
  return loss;
}

StepInfo Step::run(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  const std::span<const Tensor> all = p.prepare(inputs, where);
  if (p.ranks && !p.ranks->same()) {
    StateDict remembered;
    p.save(remembered, Unlisted::leave_out);  // what lists nothing was never loaded
    p.ranks->need_same(p.variables, p.settings(), remembered, where);
  }
  const AnyRule& rule = p.keeper ? p.keeper->rule() : p.rule;
  if (p.shards) p.gradients().partial = &p.partial;
  placed("Step", where, [&] { prepare_updates(p.variables, p.gradients(), rule, p.rule_state); });
  const auto start = Clock::now();
  StepInfo info{.step = p.step + 1};
  info.loss = p.compute_gradients(all, where);  // 1 compute
  if (p.options.batch_axis) info.examples = inputs[0].shape()[*p.options.batch_axis];
  info.loss_scale = p.loss_scale;
  info.micro_batches = p.gathered + 1;
  Gradients* gradients = &p.gradients();
  if (p.gathered > 0) {
    p.add_to_sum();
    gradients = &*p.sum;
    info.loss = (p.loss_sum + info.loss) / static_cast<double>(info.micro_batches);
    p.gathered = 0;  // whatever becomes of this step
    p.loss_sum = 0;
  }
  if (p.examples) info.clipped_examples = std::exchange(p.clipped_sum, 0) + p.examples->clipped();
  if (p.ranks) p.ranks->join(*gradients, info);
  if (p.examples) add_noise(*gradients, *p.options.per_example, info.step);
  p.finite = info.finite = std::isfinite(info.loss);
  if (p.keeper) p.keeper->look_at_loss(info, p.process_state, p.rule_state);
  const bool seen = !info.skip;  // by the transforms
  const FlushDenormals flush;
  if (p.shards) gradients->partial = &p.partial;
  const auto computed = Clock::now();
  placed("Step", where, [&] {  // 2 process
    if (p.first_look && !info.skip) p.look_first(*gradients, info);
    if (info.skip)
      p.process.see_skipped(*gradients, p.process_state, p.variables, info);
    else
      p.process.update(*gradients, p.process_state, p.variables, info);
  });
  const auto processed = Clock::now();
  if (p.keeper) {
    const bool excused = !p.finite && p.scale_is_unproven();
    p.keeper->see(info, excused, p.variables, p.process_state, p.rule_state);
  }
  if (!info.skip) {
    placed("Step", where, [&] {  // 3 apply
      info.skip = !add_updates(p.variables, *gradients, rule, p.rule_state, info, p.team);
    });
    if (p.keeper) p.keeper->see_applied(info, p.variables, p.process_state, p.rule_state);
  }
  if (!info.skip) {
    p.process.remember(p.process_state);
    info.learning_rate = rule.rate(p.rule_state);
  }

  p.step = info.step;
  if (p.options.loss_scale && seen) p.move_loss_scale();
  const auto applied = Clock::now();
  info.seconds = std::chrono::duration<double>(applied - start).count();
  if (p.profiled) {
    p.process_time.add(processed - computed);
    p.apply_time.add(applied - processed);
  }
  return info;
}

std::optional<NonFiniteOrigin> Step::find_non_finite(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  const auto all = p.prepare(inputs, where);
  if (p.examples) return p.examples->find_non_finite(all, p.draw(), where);
  const auto find = [&] { return p.compute->find_non_finite(all, p.draw(), where); };
  const auto found = find();
  if (found || !p.options.sharpness) return found;
  p.run_recording(all, where);
  return p.uphill(find);
}

Tensor Step::average(const Variable& variable, Where where) {
  Parts& p = *parts_;
  return placed("Step::average", where, [&] { return p.rule.average(p.rule_state, variable); });
}

void Step::with_averages(const std::function<void()>& evaluate, Where where) {
  Parts& p = *parts_;
  p.need_own_parameters("Step::with_averages", where);
  std::vector<Tensor> averages;
  for (size_t i = 0; i < p.variable_count; ++i) averages.push_back(average(p.variables[i], where));
  struct PutBack {
    Parts& parts;
    Buffer own{parts.variables.layout().size * size_of(parts.variables.dtype())};
    explicit PutBack(Parts& of) : parts(of) {
      std::copy_n(static_cast<const std::byte*>(of.variables.block()), own.size(), own.data());
      parts.evaluating = true;
    }
    ~PutBack() {
      put_back(parts.variables, own);
      parts.evaluating = false;
    }
  } own(p);
  for (size_t i = 0; i < averages.size(); ++i) p.variables.assign(p.variables[i], averages[i]);
  evaluate();
}

double Step::loss_scale() const { return parts_->loss_scale; }

void Step::profile(bool on) {
  Parts& p = *parts_;
  p.profiled = on;
  p.process_time = {.name = "process"};
  p.apply_time = {.name = "apply"};
  if (p.recording()) p.recording()->profile(on);
}

std::vector<OpTime> Step::op_times() const {
  Parts& p = *parts_;
  if (!p.profiled || !p.recording()) return {};
  std::vector<OpTime> times = p.recording()->recording().op_times();
  times.insert(times.end(), {p.process_time, p.apply_time});
  return times;
}

Tensor Step::metric(size_t i, Where where) const {
  const Parts& p = *parts_;
  const size_t count = p.examples  ? p.examples->metric_count()
                       : p.compute ? p.compute->metric_count()
                                   : 0;
  if (i >= count)
    throw InvalidArgument(
        "Step::metric",
        fmt::format("there is no metric {}, the cost has returned {} after the loss{}", i, count,
                    p.step > 0 ? "" : "; run a step first"),
        where);
  if (p.examples) return p.examples->metric(i).clone();
  return (p.options.sharpness ? p.metrics[i] : p.compute->metric(i)).clone();
}
const std::vector<double>& Step::example_norms() const { return parts_->examples.value().norms(); }
const std::string& Step::one_by_one_because() const {
  return parts_->examples.value().one_by_one_because();
}
int64_t Step::step() const { return parts_->step; }
size_t Step::arena_bytes() const {
  GradientRecording* recording = parts_->recording();
  return recording ? recording->recording().arena_bytes() : 0;
}
size_t Step::instruction_count() const {
  GradientRecording* recording = parts_->recording();
  return recording ? recording->recording().instruction_count() : 0;
}

struct Function::Parts {
  ModelFunction function;
  StepOptions options;
  ThreadTeam team;
  std::optional<Recording> recording;
};

Function::Function(ModelFunction f, StepOptions options, int)
    : parts_(new Parts{std::move(f), options, ThreadTeam(options.threads), {}}) {
  require_possible(options.products, Where::here());
}
Function::~Function() = default;
Function::Function(Function&&) noexcept = default;
Function& Function::operator=(Function&&) noexcept = default;

Tensor Function::run(std::span<const Tensor> inputs, Where where) {
  Parts& p = *parts_;
  if (!p.recording)
    p.recording.emplace(record_forward(p.function, specs_of(inputs), p.team,
                                       {p.options.seed, p.options.products}, where));
  p.recording->run(inputs, 0, where);
  return p.recording->output(0).clone();
}

}  // namespace rein
