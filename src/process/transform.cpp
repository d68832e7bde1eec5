#include "rein/process/transform.h"

namespace rein {

static_assert(Transform<Chain> && Transform<AnyTransform>);

void AnyTransform::update_each(
    const std::function<Gradient(const Gradient&, const std::string&)>& function,
    Gradients& gradients) {
  // The function sees true numbers, so what is pending is multiplied in first.
  std::vector<Gradient> results(gradients.size());
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients.kind(i) != Gradients::Kind::absent)
      results[i] = function(gradients.get(i), gradients.name(i));
  gradients.scale = 1;
  for (size_t i = 0; i < gradients.size(); ++i) gradients.set(i, results[i]);
}

Chain::State Chain::init(const Variables& variables) const {
  State state;
  for (const AnyTransform& part : parts) state.push_back(part.init(variables));
  return state;
}

void Chain::update(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const {
  for (size_t i = 0; i < parts.size() && !info.skip; ++i)
    parts[i].update(gradients, state[i], variables, info);
}

}  // namespace rein
