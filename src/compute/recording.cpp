#include "rein/compute/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/flush_denormals.h"
#include "compute/plan.h"
#include "trace.h"

namespace rein {

Recording::Recording(std::unique_ptr<Graph> graph, Values inputs, Values outputs, ThreadTeam& team)
    : plan_(std::make_unique<Plan>(std::move(graph), std::move(inputs), std::move(outputs), team)) {
}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
Recording& Recording::operator=(Recording&&) noexcept = default;

void Recording::begin_run(std::span<const Tensor> inputs, Where where) {
  Plan& plan = *plan_;
  if (inputs.size() != plan.inputs.size())
    throw InvalidArgument(
        "Recording::run",
        fmt::format("{} inputs, recorded with {}", inputs.size(), plan.inputs.size()), where);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].spec() != input_spec(i))
      throw InvalidArgument(
          "Recording::run",
          fmt::format("input {} is {}, recorded with {}; record once a shape, or make batches "
                      "equal",
                      i, to_string(inputs[i].spec()), to_string(input_spec(i))),
          where);
  if (!plan.bound || plan.parameters_moved()) plan.bind();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& p = plan.place(plan.inputs[i]);
    if (const size_t bytes = inputs[i].spec().bytes(); bytes > 0)
      std::memcpy(plan.blocks[p.block].data, inputs[i].data(), bytes);
  }
}

void Recording::run(std::span<const Tensor> inputs, uint64_t step, Where where) {
  begin_run(inputs, where);
  Plan& plan = *plan_;
  const FlushDenormals flush;
  if (plan.times.empty()) {
    for (const auto& i : plan.instructions) plan.execute(i, step);
    return;
  }
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const auto start = std::chrono::steady_clock::now();
    plan.execute(plan.instructions[i], step);
    plan.times[i].add(std::chrono::steady_clock::now() - start);
  }
}

void Recording::inspect(std::span<const Tensor> inputs, uint64_t step,
                        const std::function<bool(const Executed&)>& look, Where where) {
  begin_run(inputs, where);
  Plan& plan = *plan_;
  const FlushDenormals flush;
  for (const auto& i : plan.instructions) {
    plan.execute(i, step);
    if (!look({.node = i.node,
               .op = *i.op,
               .in = Ins(plan.ins).subspan(i.in, i.in_count),
               .out = Outs(plan.outs).subspan(i.out, i.out_count)}))
      return;
  }
}

void Recording::profile(bool on) {
  plan_->times.clear();
  if (!on) return;
  for (const auto& i : plan_->instructions) plan_->times.push_back({.name = i.op->name});
}

std::vector<OpTime> Recording::op_times() const {
  std::vector<OpTime> by_name;
  for (const OpTime& time : plan_->times) {
    auto found = std::ranges::find(by_name, time.name, &OpTime::name);
    if (found == by_name.end()) {
      by_name.push_back(time);
    } else {
      found->calls += time.calls;
      found->seconds += time.seconds;
    }
  }
  return by_name;
}

size_t Recording::input_count() const { return plan_->inputs.size(); }
const Spec& Recording::input_spec(size_t i) const { return plan_->inputs[i].spec(); }

Tensor Recording::output(size_t i, Where where) const {
  if (!plan_->bound) throw InvalidArgument("Recording::output", "it has not run yet", where);
  const auto& p = plan_->place(plan_->outputs[i]);
  return Tensor::view(plan_->outputs[i].spec(), plan_->blocks[p.block].data + p.offset);
}

bool Recording::pin_output(size_t i, void* data) {
  const Value& v = plan_->outputs[i];
  const auto& p = plan_->place(v);
  auto& block = plan_->blocks[p.block];
  if (plan_->bound || block.kind != Plan::Block::Kind::arena || p.offset != 0 ||
      block.bytes != v.spec().bytes())
    return false;
  block.kind = Plan::Block::Kind::pinned;
  block.data = static_cast<std::byte*>(data);
  return true;
}

size_t Recording::arena_bytes() const {
  if (!plan_->bound) plan_->lay_out_arena();
  return plan_->arena_bytes + plan_->scratch_bytes;
}
size_t Recording::instruction_count() const { return plan_->instructions.size(); }
const Graph& Recording::graph() const { return *plan_->graph; }

void require_possible(const ProductOptions& products, Where where) {
  if (const std::string why = why_not(products); !why.empty())
    throw InvalidArgument(
        "record", fmt::format("products.precision {}: {}", to_string(products.precision), why),
        where);
}

Recorded trace(const ModelFunction& function, std::span<const Spec> specs,
               const RecordingOptions& options, Where where, bool examples_apart) {
  require_possible(options.products, where);
  Recorded r{std::make_unique<Graph>(GraphOptions{.eager = false,
                                                  .seed = options.seed,
                                                  .examples_apart = examples_apart,
                                                  .products = options.products}),
             {},
             {}};
  for (const Spec& spec : specs) r.inputs.push_back(r.graph->input(spec));
  r.outputs = function(r.inputs);
  if (r.outputs.empty()) throw InvalidArgument("record", "the function returned nothing", where);
  for (const Value& v : r.outputs)
    if (!v.defined() || &v.graph() != r.graph.get())
      throw InvalidArgument("record", "the function returned a value of another tape or none",
                            where);
  return r;
}

Recording record_forward(const ModelFunction& function, std::span<const Spec> inputs,
                         ThreadTeam& team, RecordingOptions options, Where where) {
  Recorded r = trace(function, inputs, options, where);
  return {std::move(r.graph), std::move(r.inputs), std::move(r.outputs), team};
}

}  // namespace rein
