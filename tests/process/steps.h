// Help for tests of transforms that remember: variables, and steps with their gradients.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "process/numbers.h"
#include "rein/process/transform.h"

namespace rein {

using Lists = std::vector<std::vector<double>>;

/// A transform with its state, and variables "v0", "v1", ... of the shapes given.
class Steps {
 public:
  Steps(AnyTransform transform, const std::vector<Shape>& shapes, DType dtype = DType::float64)
      : vars_({}, dtype), transform_(std::move(transform)) {
    for (const Shape& shape : shapes) {
      std::string name = "v";
      name += std::to_string(vars_.size());
      add_variable(vars_, name, shape, std::vector<double>(static_cast<size_t>(shape.size()), 0.0));
    }
    state_ = transform_.init(vars_);
  }

  Variables& variables() { return vars_; }
  StepInfo info;

  /// The numbers that come out; an empty list is an absent gradient, going in and coming out.
  Lists step(const Lists& gradients, ThreadTeam* team = nullptr) {
    std::vector<Gradient> list;
    for (size_t i = 0; i < gradients.size(); ++i)
      list.push_back(gradients[i].empty()
                         ? Gradient()
                         : Gradient(tensor(vars_[i].shape(), gradients[i], vars_.dtype())));
    Lists out;
    for (const Gradient& g : step(list, team))
      out.push_back(g ? numbers(g) : std::vector<double>());
    return out;
  }
  std::vector<Gradient> step(const std::vector<Gradient>& gradients, ThreadTeam* team = nullptr) {
    Gradients block(vars_);
    block.team = team;
    for (size_t i = 0; i < gradients.size(); ++i) block.set(i, gradients[i]);
    const int64_t number = info.step + 1;
    info = StepInfo{.step = number, .examples = examples};
    transform_.update(block, state_, vars_, info);
    if (!info.skip) transform_.remember(state_);
    std::vector<Gradient> out;
    for (size_t i = 0; i < block.size(); ++i) out.push_back(block.get(i));
    return out;
  }
  int64_t examples = 0;

 private:
  Variables vars_;
  AnyTransform transform_;
  AnyTransform::State state_;
};

/// Numbers whose size varies over several powers of ten from step to step.
inline std::vector<double> wild(size_t n, uint64_t stream) {
  std::vector<double> out = noise(n, stream);
  const RandomStream random(Seed{99}, stream);
  const double size = std::pow(10.0, 2 * random.normal(0));
  for (double& v : out) v *= size;
  return out;
}

inline double norm_of(const Lists& lists) {
  std::vector<double> norms;
  for (const auto& list : lists) norms.push_back(norm_of(list));
  return norm_of(norms);
}

inline Lists times(const Lists& lists, double factor) {
  Lists out = lists;
  for (auto& list : out)
    for (double& v : list) v *= factor;
  return out;
}

}  // namespace rein
