// The networks of `rein bench step`, those that are large here with fewer steps and words, and what
// tests of bits look at.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <vector>

#include "bench_network.h"

namespace rein::app {
inline void PrintTo(const StepShape& s, std::ostream* out) { *out << s.name; }
}  // namespace rein::app

namespace rein {

inline std::vector<app::StepShape> bench_shapes() {
  std::vector<app::StepShape> shapes(app::step_shapes().begin(), app::step_shapes().end());
  for (app::StepShape& s : shapes) {
    s.steps = std::min<int64_t>(s.steps, s.batch > 1 ? 64 : 2048);
    if (s.units > 200) s.steps = 3;
    if (s.vocabulary > 500) s.vocabulary = s.outputs = 500;
#ifdef REIN_SANITIZED
    s.steps = std::min<int64_t>(s.steps, 8);
    s.units = std::min<int64_t>(s.units, 260);  // their weights still exceed a second-level cache
    s.inputs = std::min<int64_t>(s.inputs, 260);
#endif
  }
  return shapes;
}

using Bytes = std::vector<std::byte>;

template <class T>
void append(Bytes& bytes, std::span<const T> numbers) {
  const auto more = std::as_bytes(numbers);
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// What a step computes, as bytes.
struct Trained {
  Bytes gradients;   // of the first step, one behind the other; a sparse one's rows, then indices
  Bytes parameters;  // after three steps
  bool operator==(const Trained&) const = default;
};

inline Bytes bytes_of(Gradients& gradients) {
  gradients.merge_duplicates();
  Bytes bytes;
  for (size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_NE(gradients.kind(i), Gradients::Kind::absent) << gradients.name(i);
    append(bytes, std::span<const float>(gradients.stored<float>(i)));
    if (gradients.kind(i) == Gradients::Kind::sparse)
      append(bytes, std::span<const int64_t>(gradients.sparse(i).indices.flat<int64_t>()));
  }
  return bytes;
}

inline Trained train(const app::StepShape& shape, int threads) {
  app::StepNetwork network(shape);
  const Tensor inputs[] = {draw_inputs(shape), draw_targets(shape)};
  const Spec specs[] = {inputs[0].spec(), inputs[1].spec()};
  ThreadTeam team(threads);
  const auto cost = [&](std::span<const Value> in) { return Values{network.cost(in[0], in[1])}; };
  GradientRecording recording(cost, specs, network.variables(), team);
  recording.run(inputs);
  recording.gradients().team = &team;
  Trained trained{bytes_of(recording.gradients()), {}};
  Step step = network.step(threads);
  for (int i = 0; i < 3; ++i) step.run(inputs);
  for (size_t i = 0; i < network.variables().size(); ++i)
    append(trained.parameters, std::span<const float>(network.variables()[i].read().flat<float>()));
  return trained;
}

}  // namespace rein
