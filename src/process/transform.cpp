#include "rein/process/transform.h"

#include <fmt/format.h>

#include <algorithm>

namespace rein {

static_assert(Transform<Chain> && Transform<AnyTransform>);

void AnyTransform::update_each(
    const std::function<Gradient(const Gradient&, const std::string&)>& function,
    Gradients& gradients) {
  // The function sees true numbers: `get` multiplies in what is pending.
  std::vector<Gradient> results(gradients.size());
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients.kind(i) == Gradients::Kind::absent) continue;
    const std::string& name = gradients.name(i);
    results[i] = function(gradients.get(i), name);
    if (!results[i]) continue;
    const Spec& wanted = gradients.layout().entries[i].spec;
    if (const Spec got{results[i].shape(), results[i].values().dtype()}; got != wanted)
      throw InvalidArgument("transform",
                            fmt::format("the function gave {} for '{}', whose gradient is {}",
                                        to_string(got), name, to_string(wanted)),
                            Where{});
    if (results[i].is_sparse()) validate(results[i].sparse(), Where{});
  }
  for (size_t i = 0; i < gradients.size(); ++i) gradients.set(i, results[i]);
  gradients.scale = 1;
}

Chain::State Chain::init(const Variables& variables) const {
  State state;
  for (const AnyTransform& part : parts) state.push_back(part.init(variables));
  return state;
}

void Chain::update(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const {
  for (size_t i = 0; i < parts.size(); ++i)
    if (info.skip)
      parts[i].see_skipped(gradients, state[i], variables, info);
    else
      parts[i].update(gradients, state[i], variables, info);
}

void Chain::see_skipped(Gradients& gradients, State& state, const Variables& variables,
                        StepInfo& info) const {
  for (size_t i = 0; i < parts.size(); ++i)
    parts[i].see_skipped(gradients, state[i], variables, info);
}

void Chain::remember(State& state) const {
  for (size_t i = 0; i < parts.size(); ++i) parts[i].remember(state[i]);
}

bool Chain::decides_non_finite() const {
  return std::ranges::any_of(parts, [](const auto& part) { return part.decides_non_finite(); });
}

}  // namespace rein
