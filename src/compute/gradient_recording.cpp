// A recorded loss and its gradients.
#include <fmt/format.h>

#include "trace.h"

namespace rein {

struct GradientRecording::Made {
  Recording recording;
  std::vector<Slot> slots;
  size_t metric_count;
  size_t forward_nodes;
};

Values parameters_of(Graph& graph, Variables& variables) {
  Values parameters;
  for (size_t i = 0; i < variables.size(); ++i) parameters.push_back(graph.parameter(variables[i]));
  return parameters;
}

TracedGradients trace_gradients(Recorded r, Variables& variables, Where where) {
  if (r.outputs[0].spec().size() != 1)
    throw InvalidArgument("record",
                          fmt::format("the loss is {}, not one number; take reduce_mean",
                                      to_string(r.outputs[0].spec())),
                          where);
  const Values parameters = parameters_of(*r.graph, variables);
  const size_t forward_nodes = r.graph->nodes().size();
  Cotangents gradients = r.graph->gradients(r.outputs[0], parameters, where);
  return {std::move(r), forward_nodes, std::move(gradients)};
}

GradientRecording::Made GradientRecording::make(TracedGradients traced, ThreadTeam& team,
                                                Where where) {
  Recorded& r = traced.recorded;
  const Cotangents& found = traced.gradients;
  const size_t metric_count = r.outputs.size() - 1;
  std::vector<Slot> slots;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) continue;
    Slot slot{.variable = i, .output = r.outputs.size()};
    if (found[i].value) {
      r.outputs.push_back(*found[i].value);
    } else {
      slot.sparse = true;
      slot.indices = slot.output + 1;
      r.outputs.insert(r.outputs.end(), {found[i].rows->values, found[i].rows->indices});
    }
    slots.push_back(slot);
  }
  if (slots.empty())
    throw InvalidArgument("record", "the loss depends on none of the variables", where);
  return {Recording(std::move(r.graph), std::move(r.inputs), std::move(r.outputs), team),
          std::move(slots), metric_count, traced.forward_nodes};
}

GradientRecording::GradientRecording(const ModelFunction& function, std::span<const Spec> inputs,
                                     Variables& variables, ThreadTeam& team,
                                     RecordingOptions options, Where where)
    : GradientRecording(trace_gradients(trace(function, inputs, options, where), variables, where),
                        variables, team, where) {}

GradientRecording::GradientRecording(TracedGradients traced, Variables& variables, ThreadTeam& team,
                                     Where where)
    : GradientRecording(make(std::move(traced), team, where), variables) {}

GradientRecording::GradientRecording(Made made, Variables& variables)
    : recording_(std::move(made.recording)),
      gradients_(variables),
      slots_(std::move(made.slots)),
      metric_count_(made.metric_count),
      variables_(&variables),
      variable_count_(variables.size()),
      forward_nodes_(made.forward_nodes) {
  for (Slot& slot : slots_) {
    if (slot.sparse) continue;
    visit_float(gradients_.dtype(), [&](auto zero) {
      slot.in_place = recording_.pin_output(slot.output,
                                            gradients_.dense<decltype(zero)>(slot.variable).data());
    });
  }
}

void GradientRecording::run(std::span<const Tensor> inputs, uint64_t step, Where where) {
  if (variables_->size() != variable_count_)
    throw InvalidArgument("Recording::run",
                          "variables were added after the step was recorded; record it anew",
                          where);
  recording_.run(inputs, step, where);
  gradients_.scale = 1;
  for (size_t i = 0; i < gradients_.size(); ++i)  // whatever a transform made of them last time
    gradients_.set_kind(i, Gradients::Kind::absent);
  for (const Slot& slot : slots_) {
    if (slot.in_place)
      gradients_.set_kind(slot.variable, Gradients::Kind::dense);
    else if (slot.sparse)
      gradients_.set_rows(slot.variable, recording_.output(slot.output),
                          recording_.output(slot.indices), where);
    else
      gradients_.set(slot.variable, recording_.output(slot.output));
  }
}

}  // namespace rein
