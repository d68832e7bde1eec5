// Family network: a small classifier of rows, trained for some steps; once eagerly through
// GradientTape and Optimizer with the clips of Semantics::tensorflow, once through a recorded Step
// with the clips as transforms.
#include <cmath>
#include <memory>

#include "golden.h"
#include "layouts.h"
#include "rein/nn/cell.h"
#include "rein/train/optimizer.h"
#include "rein/train/step.h"
#include "rules.h"

namespace golden {
namespace {

using rein::Gradient;
using rein::Semantics;
using rein::Tensor;
using rein::Value;
using rein::Values;
using rein::Variables;

using Gradients = std::vector<Gradient>;

// A model of the reference: what it does with rows [steps * batch, n_input] cut out of x, and the
// names that its parameters have here.
struct Network {
  Variables variables;
  std::unique_ptr<rein::RNNCell> cell;  // of TensorFlow; the others hold their weights themselves
  int64_t steps = 0, inputs = 0;

  explicit Network(rein::DType dtype) : variables({}, dtype) {}
  Value weight(const Value& beside, std::string_view name) {
    return beside.graph().parameter(variables.at(name));
  }
};

std::string our_name(const Network& network, const std::string& theirs) {
  const bool in_cell = network.cell && (theirs == "kernel" || theirs == "bias");
  return in_cell ? "rnn/" + theirs : theirs;
}

Value mean_loss(Value logits, Value y) {
  return rein::reduce_mean(rein::softmax_cross_entropy_with_logits(y, logits));
}

// [batch, steps, n_input] -> [steps * batch, n_input]
Value rows_of(const Network& n, Value x) {
  return rein::reshape(rein::transpose(x, {1, 0, 2}), {-1, n.inputs});
}

Value tensorflow_cost(Network& n, Value x, Value y) {
  const Value rows = rein::matmul(rows_of(n, x), n.weight(x, "W_hidden")) + n.weight(x, "b_hidden");
  const auto [outputs, state] = rein::static_rnn(*n.cell, rein::split(rows, n.steps));
  return mean_loss(rein::matmul(outputs.back(), n.weight(x, "W_out")) + n.weight(x, "b_out"), y);
}

// The last output of an LSTM over rows [steps * batch, H], from a state of zeros.
Value last_output(const Network& n, Value rows, const LstmWeights& w) {
  const int64_t batch = rows.shape()[0] / n.steps, units = rows.shape()[1];
  const Value zero = rows.graph().constant(Tensor({batch, units}, rows.dtype()));
  const Value sequence = rein::reshape(rows, {n.steps, batch, units});
  return rein::lstm(sequence, w.kernel, w.bias, zero, zero, {.forget_bias = 0}).h;
}

Value keras_cost(Network& n, Value x, Value y) {
  const Value rows = rein::matmul(rows_of(n, x), n.weight(x, "W_hidden")) + n.weight(x, "b_hidden");
  const auto weights =
      keras_lstm(n.weight(x, "kernel"), n.weight(x, "recurrent_kernel"), n.weight(x, "bias"));
  return mean_loss(
      rein::matmul(last_output(n, rows, weights), n.weight(x, "W_out")) + n.weight(x, "b_out"), y);
}

Value torch_cost(Network& n, Value x, Value y) {
  const auto linear = [&](Value v, const std::string& name) {
    return rein::matmul(v, n.weight(x, name + ".weight"), {.transpose_b = true}) +
           n.weight(x, name + ".bias");
  };
  const auto weights =
      torch_lstm(n.weight(x, "lstm.weight_ih_l0"), n.weight(x, "lstm.weight_hh_l0"),
                 n.weight(x, "lstm.bias_ih_l0"), n.weight(x, "lstm.bias_hh_l0"));
  return mean_loss(linear(last_output(n, linear(rows_of(n, x), "hidden"), weights), "out"), y);
}

using Cost = Value (*)(Network&, Value, Value);

std::unique_ptr<Network> make_network(const Case& c) {
  const Json& params = c.at("params");
  auto network = std::make_unique<Network>(read_tensor(params.items.at(0)).dtype());
  const auto attr = [&](const char* name) { return c.attrs().at(name).as<int64_t>(); };
  network->steps = attr("n_steps");
  network->inputs = attr("n_input");
  const int64_t units = attr("n_hidden");
  for (size_t i = 0; i < params.keys.size(); ++i) {
    const auto& name = params.keys[i];
    if (c.semantics == "tensorflow" && name == "kernel") {
      if (c.op == "rows_lstm")
        network->cell = std::make_unique<rein::BasicLSTMCell>(
            network->variables, "rnn", units, units,
            rein::BasicLSTMCellOptions{.forget_bias = number_or(c.attrs(), "forget_bias", 1)});
      else
        network->cell = std::make_unique<rein::BasicRNNCell>(
            network->variables, "rnn", units, units,
            rein::BasicRNNCellOptions{.activation = rein::Activation::relu});
    }
    const std::string ours = our_name(*network, name);
    const Tensor value = read_tensor(params.items[i]);
    if (!network->variables.contains(ours))
      network->variables.add(ours, value.shape(), rein::zeros());
    network->variables.assign(network->variables.at(ours), value);
  }
  return network;
}

// ---------------------------------------------------------------- the clips of the files

struct Clip {
  std::string op{};  // empty: none
  double lo = 0, hi = 0, limit = 0;
};

Clip read_clip(const Case& c) {
  const Json* json = c.attrs().find("clip");
  if (!json || json->is_null()) return {};
  Clip clip{.op = json->at("op").string()};
  if (clip.op == "clip_by_value") {
    only(*json, {"op", "clip_value_min", "clip_value_max"}, "attribute");
    clip.lo = json->at("clip_value_min").as<double>();
    clip.hi = json->at("clip_value_max").as<double>();
  } else if (clip.op == "clip_grad_value_") {
    only(*json, {"op", "clip_value"}, "attribute");
    clip.hi = json->at("clip_value").as<double>();
    clip.lo = -clip.hi;
  } else if (clip.op == "clip_grad_norm_") {
    only(*json, {"op", "max_norm"}, "attribute");
    clip.limit = json->at("max_norm").as<double>();
  } else if (clip.op == "clip_by_norm" || clip.op == "clip_by_global_norm" ||
             clip.op == "clip_by_average_norm" || clip.op == "clip_gradients_by_norm") {
    only(*json, {"op", "clip_norm"}, "attribute");
    clip.limit = json->at("clip_norm").as<double>();
  } else {
    throw Skip("clip '" + clip.op + "' is not built yet");
  }
  return clip;
}

// PyTorch adds this to the norm before it compares.
constexpr double kTorchEpsilon = 1e-6;

Gradients clipped(const Clip& clip, const Gradients& gradients) {
  const Semantics semantics = Semantics::tensorflow;
  if (clip.op == "clip_by_global_norm")
    return rein::clip_by_global_norm(gradients, clip.limit, {.semantics = semantics}).gradients;
  if (clip.op == "clip_grad_norm_")
    return rein::clip_by_global_norm(gradients, clip.limit,
                                     {.use_norm = rein::global_norm(gradients) + kTorchEpsilon})
        .gradients;
  Gradients results;
  for (const auto& g : gradients) {
    if (clip.op == "clip_by_norm")
      results.push_back(rein::clip_by_norm(g, clip.limit, {.semantics = semantics}));
    else if (clip.op == "clip_by_average_norm")
      results.push_back(rein::clip_by_average_norm(g, clip.limit, semantics));
    else if (!g)  // TensorFlow 2 has no value for None to clip
      results.push_back(g);
    else
      results.push_back(rein::clip_by_value(g, clip.lo, clip.hi, semantics));
  }
  return results;
}

// After MeasureNorm, the same as a transform.
rein::AnyTransform transform_of(const Clip& clip) {
  if (clip.op == "clip_by_value" || clip.op == "clip_grad_value_")
    return rein::ClipByValue{.min = clip.lo, .max = clip.hi};
  if (clip.op == "clip_by_norm") return rein::ClipByNorm{.clip_norm = clip.limit};
  if (clip.op == "clip_by_average_norm") return rein::ClipByAverageNorm{.clip_norm = clip.limit};
  if (clip.op == "clip_grad_norm_")
    return
        [limit = clip.limit](rein::Gradients& gradients, const Variables&, rein::StepInfo& info) {
          gradients.scale *= std::min(1.0, limit / (info.norm + kTorchEpsilon));
        };
  if (clip.op.empty()) return rein::chain();
  return rein::ClipByGlobalNorm{.clip_norm = clip.limit};
}

// ---------------------------------------------------------------- two ways to train

struct Course {
  std::vector<double> loss, norm;
};

struct Batches {
  Tensor x, y;
  explicit Batches(const Case& c) : x(read_tensor(c.at("x"))), y(read_tensor(c.at("y"))) {}

  static Tensor one(const Tensor& all, int64_t step) {
    const rein::Shape shape(all.shape().dims().subspan(1));
    return all.piece(step % all.shape()[0] * shape.size(), shape).clone();
  }
};

std::unique_ptr<rein::Optimizer> make_optimizer(const RuleSetup& setup, const Clip& clip) {
  rein::RuleOptimizer inner(setup.rule);
  if (clip.op != "clip_gradients_by_norm")
    return std::make_unique<rein::RuleOptimizer>(std::move(inner));
  using Clipping = rein::ProcessingOptimizer<rein::RuleOptimizer>;
  return std::make_unique<Clipping>(rein::clip_gradients_by_norm(std::move(inner), clip.limit));
}

// What the settings of an optimizer do to the gradients on their way in.
void apply_process(const RuleSetup& setup, rein::GradsAndVars& pairs, Variables& variables) {
  if (setup.process.parts.empty()) return;
  rein::Gradients block(variables);
  for (size_t i = 0; i < pairs.size(); ++i) block.set(i, pairs[i].grad);
  auto state = setup.process.init(variables);
  rein::StepInfo info;
  setup.process.update(block, state, variables, info);
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i].grad = block.get(i);
}

Course train_eagerly(const Case& c, Network& network, Cost cost, const RuleSetup& setup,
                     const Clip& clip) {
  const Batches batches(c);
  const auto optimizer = make_optimizer(setup, clip);
  Course course;
  for (int64_t t = 0; t < c.at("steps").as<int64_t>(); ++t) {
    rein::GradientTape tape;
    const Value loss = cost(network, tape.input(Batches::one(batches.x, t)),
                            tape.input(Batches::one(batches.y, t)));
    auto pairs = optimizer->compute_gradients(loss, network.variables);
    Gradients gradients;
    for (const auto& pair : pairs) gradients.push_back(pair.grad);
    course.loss.push_back(loss.item());
    course.norm.push_back(rein::global_norm(gradients));
    if (clip.op.empty() && setup.process.parts.empty()) {
      optimizer->minimize(loss, network.variables);
      continue;
    }
    if (!clip.op.empty() && clip.op != "clip_gradients_by_norm")
      pairs = rein::zip(clipped(clip, gradients), network.variables);
    apply_process(setup, pairs, network.variables);
    optimizer->apply_gradients(pairs);
  }
  return course;
}

Course train_recorded(const Case& c, Network& network, Cost cost, const RuleSetup& setup,
                      const Clip& clip) {
  const Batches batches(c);
  rein::Step train =
      rein::record([&](Value x, Value y) { return cost(network, x, y); }, network.variables,
                   rein::chain(rein::MeasureNorm{}, transform_of(clip), setup.process), setup.rule,
                   {.products = c.products});
  Course course;
  for (int64_t t = 0; t < c.at("steps").as<int64_t>(); ++t) {
    // A clip by the global norm takes the norm again, of the same gradient.
    const rein::StepInfo info = train(Batches::one(batches.x, t), Batches::one(batches.y, t));
    course.loss.push_back(info.loss);
    course.norm.push_back(info.norm);
  }
  return course;
}

// ---------------------------------------------------------------- comparison

void compare_course(Check& check, const std::string& way, const Course& course) {
  size_t compared = course.loss.size();
  if (const Json* want = check.want("compared_steps"))
    compared = static_cast<size_t>(want->as<int64_t>());
  const auto series = [&](const char* name, const std::vector<double>& got) {
    const Json* want = check.want(name);
    if (!want) return;
    const auto& data = want->at("data").items;
    check.that(data.size() == got.size(), std::string(name) + ": another number of steps");
    for (size_t t = 0; t < std::min(compared, std::min(got.size(), data.size())); ++t)
      check.equal(indexed(way + " " + name, t), got[t], data[t]);
  };
  series("loss", course.loss);
  series("norm", course.norm);
  if (const Json* want = check.want("norm_finite")) {
    bool finite = true;
    for (const double norm : course.norm) finite = finite && std::isfinite(norm);
    check.that(finite == want->boolean(), way + " norm_finite");
  }
  const Json* above = check.want("loss_above");
  if (const Json* want = check.want("diverges")) {
    bool diverges = false;
    for (const double loss : course.loss)
      diverges = diverges || !std::isfinite(loss) || (above && loss > above->as<double>());
    check.that(diverges == want->boolean(), way + " diverges: it did not");
  }
}

void compare_params(Check& check, const std::string& way, Network& network) {
  const auto read = [&](const std::string& theirs) {
    return network.variables.at(our_name(network, theirs)).read();
  };
  if (const Json* want = check.want("params"))
    for (size_t i = 0; i < want->keys.size(); ++i)
      check.equal(way + " " + want->keys[i], read(want->keys[i]), want->items[i]);
  if (const Json* want = check.want("equal_params"))
    check.that(same_bits(read(want->items.at(0).string()), read(want->items.at(1).string())),
               way + " equal_params: they differ");
}

// Tolerances are for gradients with float32's error, 1e-6 of their length; docs/precision.md
// promises 3e-5 of bf16x3.
constexpr double kNarrowError = 3e-5 / 1e-6;

void run(const Case& c, Check& check, Cost cost) {
  const RuleSetup setup = read_rule(c.semantics, c.attrs().at("optimizer"));
  const Clip clip = read_clip(c);
  const bool narrow = c.products.narrow();
  for (const bool recorded : {false, true}) {
    if (narrow && !recorded) continue;  // a tape has no narrow products
    const auto network = make_network(c);
    if (narrow && network->variables[0].dtype() == rein::DType::float32) check.widen(kNarrowError);
    const auto train = recorded ? train_recorded : train_eagerly;
    const std::string way = recorded ? "recorded:" : "eager:";
    compare_course(check, way, train(c, *network, cost, setup, clip));
    compare_params(check, way, *network);
  }
}

void tensorflow(const Case& c, Check& check) { run(c, check, tensorflow_cost); }
void keras(const Case& c, Check& check) { run(c, check, keras_cost); }
void torch(const Case& c, Check& check) { run(c, check, torch_cost); }

}  // namespace

Family network_family() {
  const Names attrs{"n_steps", "n_input", "n_hidden", "n_classes", "batch", "optimizer", "clip"};
  Names lstm = attrs;
  lstm.push_back("forget_bias");
  const Names inputs{"params", "x", "y", "steps"};
  const Names expect{"loss",     "norm",       "params",      "compared_steps",
                     "diverges", "loss_above", "norm_finite", "equal_params"};
  return {{"rows_lstm", "tensorflow", lstm, inputs, expect, tensorflow},
          {"rows_rnn_relu", "tensorflow", attrs, inputs, expect, tensorflow},
          {"rows_lstm", "keras", attrs, inputs, expect, keras},
          {"rows_lstm", "pytorch", attrs, inputs, expect, torch}};
}

}  // namespace golden
