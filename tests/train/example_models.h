// Models whose examples can be told apart, and what a step makes of them.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "rein/rein.h"

namespace rein::examples {

using In = std::span<const Value>;

/// A model, made anew for each step that is compared.
struct Model {
  std::string name;
  std::vector<Spec> inputs;
  std::function<ModelFunction(Variables&)> make;
  int64_t classes = 3;  // integers in the inputs are below
};

inline void PrintTo(const Model& model, std::ostream* to) { *to << model.name; }

/// Numbers for an input, or all of them; floating-point ones of `dtype`.
Tensor draw(const Model& model, size_t input, DType dtype);
std::vector<Tensor> draw(const Model& model, DType dtype);

/// What a step made of a model.
struct Outcome {
  Outcome(const Model& model, DType dtype, PerExample settings, const std::vector<Tensor>& inputs,
          int threads = 1, ProductOptions products = {});
  Outcome(const Model& model, DType dtype, PerExample settings, int threads = 1,
          ProductOptions products = {})
      : Outcome(model, dtype, settings, draw(model, dtype), threads, products) {}
  StepInfo info;
  std::vector<double> norms;
  std::vector<std::vector<double>> moved;
  std::vector<std::string> names;
  std::string why;
};

inline Spec floats(Shape shape) { return {shape, DType::float64}; }
inline Spec labels(Shape shape) { return {shape, DType::int64}; }
/// A cost of a model that lives as long as the cost.
template <class Layers, class Cost>
std::function<ModelFunction(Variables&)> with(Layers layers, Cost cost) {
  return [=](Variables& vars) -> ModelFunction {
    auto made = std::make_shared<decltype(layers(vars))>(layers(vars));
    return [=](In in) { return Values{cost(*made, in)}; };
  };
}

/// Of linear layers, recurrent cells, and variables outside of products.
std::vector<Model> models();

}  // namespace rein::examples
