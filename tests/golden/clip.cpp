// Family clip: the functions of rein/process/clip.h and the same as transforms.
#include "rein/process/clip.h"

#include <cmath>
#include <optional>

#include "golden.h"
#include "rein/compute/ops.h"
#include "rein/compute/tape.h"
#include "rein/nn/clip.h"
#include "rein/nn/initializers.h"

namespace golden {
namespace {

using rein::Bound;
using rein::Gradient;
using rein::Semantics;
using rein::Tensor;

using Gradients = std::vector<Gradient>;

// Runs a function of one gradient on each.
template <class F>
Gradients each(const Gradients& gradients, F&& f) {
  Gradients results;
  for (const auto& g : gradients) results.push_back(f(g));
  return results;
}

void compare(Check& check, const Gradients& got) {
  if (const Json* want = check.want("gradients")) check.equal("gradients", got, *want);
}

void compare_norm(Check& check, double norm) {
  if (const Json* want = check.want("norm")) check.equal("norm", norm, *want);
  if (const Json* want = check.want("norm_finite"))
    check.that(std::isfinite(norm) == want->boolean(),
               std::isfinite(norm) ? "the norm is finite" : "the norm is not finite");
}

// What a transform makes of the gradients of variables of their shapes; nothing where they cannot
// be variables (no elements, not of one floating type).
template <class T>
std::optional<Gradients> through_transform(const T& transform, const Gradients& gradients,
                                           rein::StepInfo& info,
                                           const std::vector<Tensor>& parameters = {}) {
  std::optional<rein::DType> dtype;
  for (const auto& g : gradients) {
    if (!g) continue;
    if (!rein::is_floating(g.values().dtype()) || g.shape().size() == 0) return {};
    if (dtype && *dtype != g.values().dtype()) return {};
    dtype = g.values().dtype();
  }
  rein::Variables variables{{}, dtype.value_or(rein::DType::float32)};
  for (size_t i = 0; i < gradients.size(); ++i)
    variables.add(indexed("gradient", i), gradients[i] ? gradients[i].shape() : rein::Shape{1},
                  rein::zeros());
  for (size_t i = 0; i < parameters.size(); ++i) variables.assign(variables[i], parameters[i]);
  rein::Gradients block(variables);
  for (size_t i = 0; i < gradients.size(); ++i) block.set(i, gradients[i]);
  auto state = transform.init(variables);
  transform.update(block, state, variables, info);
  Gradients results;
  for (size_t i = 0; i < gradients.size(); ++i) results.push_back(block.get(i));
  return results;
}

template <class T>
void compare_transform(Check& check, const Case& c, const T& transform, const Gradients& gradients,
                       const std::vector<Tensor>& parameters = {}) {
  if (c.expect().find("error")) return;
  rein::StepInfo info;
  const auto got = through_transform(transform, gradients, info, parameters);
  if (!got) return;
  const Json* want = check.want("gradients");
  for (size_t i = 0; want && i < got->size(); ++i) {
    const auto name = indexed("gradients of the transform", i);
    const Gradient& g = (*got)[i];
    if (g && g.is_sparse()) {  // its rows may be merged afterwards, or Keras' dense
      const Gradient expected = read_gradient(want->items.at(i));
      check.equal(name, rein::to_dense(g.sparse()),
                  expected.is_sparse() ? rein::to_dense(expected.sparse()) : expected.dense());
    } else {
      check.equal(name, g, want->items.at(i));
    }
  }
}

Bound read_bound(const Json& json) {
  if (json.is(Json::Kind::object)) return read_tensor(json);
  return json.as<double>();
}

double read_limit(const Case& c, std::string_view name) {
  const Json& json = c.attrs().at(name);
  if (!json.is(Json::Kind::object)) return json.as<double>();
  const Tensor tensor = read_tensor(json);
  if (tensor.size() != 1)
    throw Skip("a limit that is a tensor of several numbers is not built yet");
  return tensor.item();
}

std::vector<int> read_axes(const Case& c) {
  std::vector<int> axes;
  const Json* list = c.attrs().find("axes");
  if (!list || list->is_null()) return axes;
  if (!list->is(Json::Kind::array)) return {static_cast<int>(list->as<int64_t>())};
  for (const auto& axis : list->items) axes.push_back(static_cast<int>(axis.as<int64_t>()));
  return axes;
}

// ---------------------------------------------------------------- TensorFlow

void clip_by_value(const Case& c, Check& check) {
  const Json &min = c.attrs().at("clip_value_min"), &max = c.attrs().at("clip_value_max");
  const Bound lo = read_bound(min), hi = read_bound(max);
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, each(gradients, [&](const Gradient& g) {
            return rein::clip_by_value(g, lo, hi, Semantics::tensorflow);
          }));
  if (min.is_number() && max.is_number())
    compare_transform(
        check, c,
        rein::ClipByValue{
            .min = min.as<double>(), .max = max.as<double>(), .semantics = Semantics::tensorflow},
        gradients);
}

void clip_by_norm(const Case& c, Check& check) {
  const double limit = read_limit(c, "clip_norm");
  const auto axes = read_axes(c);
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, each(gradients, [&](const Gradient& g) {
            return rein::clip_by_norm(g, limit, {.axes = axes, .semantics = Semantics::tensorflow});
          }));
  compare_transform(
      check, c,
      rein::ClipByNorm{.clip_norm = limit, .axes = axes, .semantics = Semantics::tensorflow},
      gradients);
}

void clip_by_average_norm(const Case& c, Check& check) {
  const double limit = read_limit(c, "clip_norm");
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, each(gradients, [&](const Gradient& g) {
            return rein::clip_by_average_norm(g, limit, Semantics::tensorflow);
          }));
  compare_transform(check, c,
                    rein::ClipByAverageNorm{.clip_norm = limit, .semantics = Semantics::tensorflow},
                    gradients);
}

void global_norm(const Case& c, Check& check) {
  const auto gradients = read_gradients(c.at("gradients"));
  compare_norm(check, rein::global_norm(gradients, {.semantics = Semantics::tensorflow}));
}

void clip_by_global_norm(const Case& c, Check& check) {
  const double limit = read_limit(c, "clip_norm");
  rein::ClipByGlobalNormOptions options{.semantics = Semantics::tensorflow};
  if (const Json* norm = c.attrs().find("use_norm"); norm && !norm->is_null())
    options.use_norm = read_limit(c, "use_norm");
  const auto gradients = read_gradients(c.at("gradients"));
  const auto [clipped, norm] = rein::clip_by_global_norm(gradients, limit, options);
  compare(check, clipped);
  compare_norm(check, norm);
  if (!options.use_norm)
    compare_transform(
        check, c, rein::ClipByGlobalNorm{.clip_norm = limit, .semantics = Semantics::tensorflow},
        gradients);
}

// ---------------------------------------------------------------- derivatives of TensorFlow's

// Gradients as values of a tape, clipped by `f`; then the derivative of sum(upstream * clipped).
template <class F>
void derivative(const Case& c, Check& check, F&& f) {
  rein::GradientTape tape;
  rein::Values values;
  for (const auto& g : read_gradients(c.at("gradients"))) {
    if (!g || !g.is_dense()) throw Skip("only dense gradients are values of a graph");
    values.push_back(tape.input(g.dense()));
  }
  const rein::Values clipped = f(values);
  const Json& upstream = c.at("upstream");
  const bool list = upstream.is(Json::Kind::array);
  std::optional<rein::Value> total;
  for (size_t i = 0; i < clipped.size(); ++i) {
    const Json& weight = list ? upstream.items.at(i) : upstream;
    if (weight.is_null()) continue;
    const rein::Value part = rein::reduce_sum(clipped[i] * read_tensor(weight));
    total = total ? *total + part : part;
  }
  if (!total) throw Skip("there is no upstream");
  const auto results = rein::gradients(*total, values);
  for (const auto name : {"gradients", "grads"}) {
    const Json* want = check.want(name);
    if (!want) continue;
    check.that(want->items.size() == results.size(), "another number of gradients");
    for (size_t i = 0; i < std::min(want->items.size(), results.size()); ++i)
      check.equal(indexed("derivative", i), results[i].tensor(), want->items[i]);
  }
}

rein::Operand read_operand(const Json& json) {
  if (json.is(Json::Kind::object)) return read_tensor(json);
  return json.as<double>();
}

void clip_by_value_gradient(const Case& c, Check& check) {
  derivative(c, check, [&](const rein::Values& values) {
    rein::Values clipped;
    for (const auto& v : values)
      clipped.push_back(rein::clip_by_value(v, read_operand(c.attrs().at("clip_value_min")),
                                            read_operand(c.attrs().at("clip_value_max"))));
    return clipped;
  });
}

void clip_by_norm_gradient(const Case& c, Check& check) {
  derivative(c, check, [&](const rein::Values& values) {
    rein::Values clipped;
    for (const auto& v : values)
      clipped.push_back(rein::clip_by_norm(v, read_limit(c, "clip_norm"), read_axes(c)));
    return clipped;
  });
}

void clip_by_average_norm_gradient(const Case& c, Check& check) {
  derivative(c, check, [&](const rein::Values& values) {
    rein::Values clipped;
    for (const auto& v : values)
      clipped.push_back(rein::clip_by_average_norm(v, read_limit(c, "clip_norm")));
    return clipped;
  });
}

void clip_by_global_norm_gradient(const Case& c, Check& check) {
  derivative(c, check, [&](const rein::Values& values) {
    return rein::clip_by_global_norm(values, read_limit(c, "clip_norm")).values;
  });
}

void global_norm_gradient(const Case& c, Check& check) {
  derivative(c, check,
             [](const rein::Values& values) { return rein::Values{rein::global_norm(values)}; });
}

// ---------------------------------------------------------------- Keras

// Keras shows its clips through an optimizer, whose sum of repeated rows is dense.
Gradients as_dense(const Gradients& gradients) {
  return each(gradients, [](const Gradient& g) {
    return g && g.is_sparse() ? Gradient(rein::to_dense(g.sparse())) : g;
  });
}

void keras_clipnorm(const Case& c, Check& check) {
  const double limit = read_limit(c, "clipnorm");
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, as_dense(rein::clip_by_norm(gradients, limit, {.semantics = Semantics::keras})));
  compare_transform(check, c, rein::ClipByNorm{.clip_norm = limit, .semantics = Semantics::keras},
                    gradients);
}

void keras_global_clipnorm(const Case& c, Check& check) {
  const double limit = read_limit(c, "global_clipnorm");
  const auto gradients = read_gradients(c.at("gradients"));
  compare(
      check,
      as_dense(
          rein::clip_by_global_norm(gradients, limit, {.semantics = Semantics::keras}).gradients));
  compare_transform(check, c,
                    rein::ClipByGlobalNorm{.clip_norm = limit, .semantics = Semantics::keras},
                    gradients);
}

// ---------------------------------------------------------------- by value, symmetric

void symmetric_clip(const Case& c, Check& check, std::string_view limit_name, Semantics semantics) {
  const double limit = read_limit(c, limit_name);
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, as_dense(rein::clip_by_value(gradients, -limit, limit, semantics)));
  compare_transform(
      check, c, rein::ClipByValue{.min = -limit, .max = limit, .semantics = semantics}, gradients);
}

void keras_clipvalue(const Case& c, Check& check) {
  symmetric_clip(c, check, "clipvalue", Semantics::keras);
}
void optax_clip(const Case& c, Check& check) {
  symmetric_clip(c, check, "max_delta", Semantics::optax);
}
void clip_grad_value(const Case& c, Check& check) {
  symmetric_clip(c, check, "clip_value", Semantics::pytorch);
}

// ---------------------------------------------------------------- PyTorch and Optax

void clip_all(const Case& c, Check& check, rein::ClipByGlobalNormOptions options) {
  const double limit = read_limit(c, "max_norm");
  const auto gradients = read_gradients(c.at("gradients"));
  const auto [clipped, norm] = rein::clip_by_global_norm(gradients, limit, options);
  compare(check, clipped);
  compare_norm(check, norm);
  rein::ClipByGlobalNorm transform{.clip_norm = limit,
                                   .norm_type = options.norm_type,
                                   .error_if_nonfinite = options.error_if_nonfinite,
                                   .semantics = options.semantics};
  if (options.use_norm) transform.use_norm = [known = *options.use_norm](double) { return known; };
  compare_transform(check, c, transform, gradients);
}

void clip_grad_norm(const Case& c, Check& check) {
  clip_all(c, check,
           {.norm_type = number_or(c.attrs(), "norm_type", 2),
            .error_if_nonfinite = flag_or(c.attrs(), "error_if_nonfinite", false),
            .semantics = Semantics::pytorch});
}

void clip_grads_with_norm(const Case& c, Check& check) {
  clip_all(c, check, {.use_norm = read_limit(c, "total_norm"), .semantics = Semantics::pytorch});
}

void get_total_norm(const Case& c, Check& check) {
  const auto gradients = read_gradients(c.at("gradients"));
  compare_norm(check, rein::global_norm(
                          gradients, {number_or(c.attrs(), "norm_type", 2), Semantics::pytorch}));
}

void optax_clip_by_global_norm(const Case& c, Check& check) {
  clip_all(c, check, {.semantics = Semantics::optax});
}

void optax_global_norm(const Case& c, Check& check) {
  const auto gradients = read_gradients(c.at("gradients"));
  compare_norm(check, rein::global_norm(gradients, {.semantics = Semantics::optax}));
}

void clip_by_block_rms(const Case& c, Check& check) {
  const double threshold = read_limit(c, "threshold");
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, each(gradients, [&](const Gradient& g) {
            return rein::clip_by_block_rms(g, threshold, Semantics::optax);
          }));
  compare_transform(check, c,
                    rein::ClipByBlockRms{.threshold = threshold, .semantics = Semantics::optax},
                    gradients);
}

void adaptive_grad_clip(const Case& c, Check& check) {
  const double clipping = read_limit(c, "clipping"), eps = number_or(c.attrs(), "eps", 1e-3);
  std::optional<int> axis;
  if (const Json* a = c.attrs().find("axis"); a && !a->is_null())
    axis = static_cast<int>(a->as<int64_t>());
  const auto gradients = read_gradients(c.at("gradients"));
  std::vector<Tensor> parameters;
  for (const auto& p : c.at("params").items) parameters.push_back(read_tensor(p));
  compare(check,
          rein::adaptive_grad_clip(gradients, parameters, clipping,
                                   {.epsilon = eps, .axis = axis, .semantics = Semantics::optax}));
  compare_transform(
      check, c,
      rein::AdaptiveGradClip{
          .clipping = clipping, .epsilon = eps, .axis = axis, .semantics = Semantics::optax},
      gradients, parameters);
}

void centralize(const Case& c, Check& check) {
  const auto gradients = read_gradients(c.at("gradients"));
  compare(check, each(gradients, [](const Gradient& g) { return rein::centralize(g, 0); }));
  compare_transform(check, c, rein::Centralize{.axis = 0}, gradients);
}

void zero_nans(const Case& c, Check& check) {
  const auto gradients = read_gradients(c.at("gradients"));
  const auto [zeroed, found] = rein::zero_nans(gradients);
  compare(check, zeroed);
  compare_transform(check, c, rein::ZeroNans{}, gradients);
  const Json* want = check.want("found_nan");
  for (size_t i = 0; want && i < found.size(); ++i)
    check.that(bool(found[i]) == (want->items.at(i).as<int64_t>() != 0),
               indexed("found_nan", i) + " is wrong");
}

void per_example_global_norm_clip(const Case& c, Check& check) {
  std::vector<Tensor> gradients;
  for (const auto& g : c.at("gradients").items) gradients.push_back(read_tensor(g));
  const auto [sums, clipped] = rein::per_example_global_norm_clip(
      gradients, read_limit(c, "l2_norm_clip"), Semantics::optax);
  compare(check, Gradients(sums.begin(), sums.end()));
  if (const Json* want = check.want("num_clipped"))
    check.that(clipped == want->as<int64_t>(), "clipped " + std::to_string(clipped) + " examples");
}

void per_example_layer_norm_clip(const Case& c, Check& check) {
  std::vector<Tensor> gradients;
  for (const auto& g : c.at("gradients").items) gradients.push_back(read_tensor(g));
  const auto [sums, clipped] =
      rein::per_example_layer_norm_clip(gradients, read_limit(c, "global_l2_norm_clip"),
                                        flag_or(c.attrs(), "uniform", true), Semantics::optax);
  compare(check, Gradients(sums.begin(), sums.end()));
  const Json* want = check.want("num_clipped");
  for (size_t i = 0; want && i < clipped.size(); ++i)
    check.that(clipped[i] == want->items.at(i).as<int64_t>(),
               indexed("num_clipped", i) + " is wrong");
}

}  // namespace

Family clip_family() {
  const Names bounds{"clip_value_min", "clip_value_max"};
  const Names in{"gradients"}, in_up{"gradients", "upstream"};
  const Names out{"gradients"}, out_norm{"gradients", "norm", "norm_finite"};
  const Names norm{"norm", "norm_finite"}, derived{"gradients", "grads"};
  return {
      {"clip_by_value", "tensorflow", bounds, in, out, clip_by_value},
      {"clip_by_norm", "tensorflow", {"clip_norm", "axes"}, in, out, clip_by_norm},
      {"clip_by_average_norm", "tensorflow", {"clip_norm"}, in, out, clip_by_average_norm},
      {"global_norm", "tensorflow", {}, in, norm, global_norm},
      {"clip_by_global_norm",
       "tensorflow",
       {"clip_norm", "use_norm"},
       in,
       out_norm,
       clip_by_global_norm},
      {"clip_by_value_gradient", "tensorflow", bounds, in_up, derived, clip_by_value_gradient},
      {"clip_by_norm_gradient",
       "tensorflow",
       {"clip_norm", "axes"},
       in_up,
       derived,
       clip_by_norm_gradient},
      {"clip_by_average_norm_gradient",
       "tensorflow",
       {"clip_norm"},
       in_up,
       derived,
       clip_by_average_norm_gradient},
      {"clip_by_global_norm_gradient",
       "tensorflow",
       {"clip_norm"},
       in_up,
       derived,
       clip_by_global_norm_gradient},
      {"global_norm_gradient", "tensorflow", {}, in_up, derived, global_norm_gradient},
      {"clipnorm", "keras", {"clipnorm"}, in, out, keras_clipnorm},
      {"global_clipnorm", "keras", {"global_clipnorm"}, in, out, keras_global_clipnorm},
      {"clipvalue", "keras", {"clipvalue"}, in, out, keras_clipvalue},
      {"clip", "optax", {"max_delta"}, in, out, optax_clip},
      {"clip_by_global_norm", "optax", {"max_norm"}, in, out_norm, optax_clip_by_global_norm},
      {"clip_by_block_rms", "optax", {"threshold"}, in, out, clip_by_block_rms},
      {"adaptive_grad_clip",
       "optax",
       {"clipping", "eps", "axis"},
       {"gradients", "params"},
       out,
       adaptive_grad_clip},
      {"centralize", "optax", {}, in, out, centralize},
      {"zero_nans", "optax", {}, in, {"gradients", "found_nan"}, zero_nans},
      {"per_example_global_norm_clip",
       "optax",
       {"l2_norm_clip"},
       in,
       {"gradients", "num_clipped"},
       per_example_global_norm_clip},
      {"per_example_layer_norm_clip",
       "optax",
       {"global_l2_norm_clip", "uniform"},
       in,
       {"gradients", "num_clipped"},
       per_example_layer_norm_clip},
      {"global_norm", "optax", {}, in, norm, optax_global_norm},
      {"clip_grad_norm_",
       "pytorch",
       {"max_norm", "norm_type", "error_if_nonfinite"},
       in,
       out_norm,
       clip_grad_norm},
      {"clip_grads_with_norm_",
       "pytorch",
       {"max_norm", "total_norm"},
       in,
       out,
       clip_grads_with_norm},
      {"clip_grad_value_", "pytorch", {"clip_value"}, in, out, clip_grad_value},
      {"get_total_norm", "pytorch", {"norm_type"}, in, norm, get_total_norm},
  };
}

}  // namespace golden
