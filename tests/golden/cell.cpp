// Family cell: recurrent cells over a sequence, forward and backward; eagerly and recorded, and for
// TensorFlow's cells both by static_rnn, which takes the fused op where there is one, and step by
// step.
#include "rein/nn/cell.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

#include "golden.h"
#include "layouts.h"
#include "rein/compute/recording.h"
#include "rein/compute/tape.h"

namespace golden {
namespace {

using rein::Tensor;
using rein::Value;
using rein::Values;
using rein::Variables;

// The tensors of a case as values of a graph, by name: x, lengths, initial_state/NAME,
// upstream/NAME.
using Inputs = std::map<std::string, Value, std::less<>>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What a cell makes of a sequence: [T, B, H] and its states after it.
struct Sequence {
  Value outputs;
  Values states;
};

struct Model {
  std::unique_ptr<Variables> variables;
  std::string prefix{};             // of the names that the parameters have here
  std::vector<std::string> states;  // their names in the file
  std::function<Sequence(Variables& variables, const Inputs& in)> run{};
};

std::unique_ptr<Variables> new_variables(const Case& c) {
  return std::make_unique<Variables>(rein::Seed{}, read_tensor(c.at("x")).dtype());
}

int64_t width(const Case& c) { return c.at("x").at("shape").items.at(2).as<int64_t>(); }

// ---------------------------------------------------------------- TensorFlow

std::shared_ptr<const rein::RNNCell> make_cell(Variables& variables, const std::string& op,
                                               const Json& attrs, const std::string& name,
                                               int64_t inputs);

std::shared_ptr<const rein::RNNCell> make_stack(Variables& variables, const Json& attrs,
                                                int64_t inputs) {
  std::vector<std::shared_ptr<const rein::RNNCell>> cells;
  for (const auto& settings : attrs.at("cells").items) {
    cells.push_back(make_cell(variables, settings.at("op").string(), settings,
                              "cell_" + std::to_string(cells.size()), inputs));
    inputs = cells.back()->output_size();
  }
  return std::make_shared<rein::MultiRNNCell>(cells);
}

rein::Activation read_activation(const Json& attrs) {
  const std::string name = text_or(attrs, "activation", "tanh");
  if (name == "tanh") return rein::Activation::tanh;
  if (name == "relu") return rein::Activation::relu;
  if (name == "sigmoid") return rein::Activation::sigmoid;
  if (name == "linear") return rein::Activation::linear;
  throw Skip("activation '" + name + "' is not built yet");
}

std::shared_ptr<const rein::RNNCell> make_cell(Variables& variables, const std::string& op,
                                               const Json& attrs, const std::string& name,
                                               int64_t inputs) {
  if (op == "MultiRNNCell") {
    only(attrs, {"op", "cells"}, "attribute");
    return make_stack(variables, attrs, inputs);
  }
  // Without peepholes the two are one.
  if (op == "BasicLSTMCell" || op == "LSTMCell") {
    unset(attrs, {"use_peepholes"});
    only(attrs,
         {"op", "num_units", "forget_bias", "activation", "cell_clip", "use_peepholes", "num_proj",
          "proj_clip"},
         "attribute");
    return std::make_shared<rein::BasicLSTMCell>(
        variables, name, inputs, attrs.at("num_units").as<int64_t>(),
        rein::BasicLSTMCellOptions{
            .forget_bias = number_or(attrs, "forget_bias", 1),
            .activation = read_activation(attrs),
            .cell_clip = number_or(attrs, "cell_clip", kInfinity),
            .num_proj = static_cast<int64_t>(number_or(attrs, "num_proj", 0)),
            .proj_clip = number_or(attrs, "proj_clip", kInfinity)});
  }
  if (op == "BasicRNNCell") {
    only(attrs, {"op", "num_units", "activation"}, "attribute");
    return std::make_shared<rein::BasicRNNCell>(
        variables, name, inputs, attrs.at("num_units").as<int64_t>(),
        rein::BasicRNNCellOptions{.activation = read_activation(attrs)});
  }
  throw Skip("cell '" + op + "' is not built yet");
}

// As the case has it, or zeros.
Value state_of(const Inputs& in, const std::string& name, const rein::Shape& shape) {
  const auto found = in.find("initial_state/" + name);
  if (found != in.end()) return found->second;
  const Value x = in.at("x");
  return x.graph().constant(Tensor(shape, x.dtype()));
}

rein::CellState initial_state(const rein::RNNCell& cell, const Inputs& in) {
  const int64_t batch = in.at("x").shape()[1];
  const auto names = cell.state_names();
  rein::CellState state;
  for (size_t i = 0; i < names.size(); ++i)
    state.values.push_back(state_of(in, names[i], {batch, cell.state_sizes()[i]}));
  return state;
}

Sequence by_static_rnn(const rein::RNNCell& cell, const Inputs& in) {
  std::optional<rein::Operand> lengths;
  if (const auto found = in.find("lengths"); found != in.end()) lengths = found->second;
  const auto [outputs, state] =
      rein::static_rnn(cell, rein::unstack(in.at("x")), initial_state(cell, in), lengths);
  return {rein::stack(outputs), state.values};
}

Sequence by_steps(const rein::RNNCell& cell, const Inputs& in) {
  rein::CellState state = initial_state(cell, in);
  Values outputs;
  for (const Value& row : rein::unstack(in.at("x"))) {
    const auto result = cell.step(row, state);
    outputs.push_back(result.output);
    state = result.state;
  }
  return {rein::stack(outputs), state.values};
}

using Way = Sequence (*)(const rein::RNNCell& cell, const Inputs& in);

Model tensorflow_model(const Case& c, Way way) {
  Model m{
      .variables = new_variables(c), .prefix = c.op == "MultiRNNCell" ? "" : "cell/", .states = {}};
  const auto cell = make_cell(*m.variables, c.op, c.attrs(), "cell", width(c));
  m.states = cell->state_names();
  m.run = [cell, way](Variables&, const Inputs& in) { return way(*cell, in); };
  return m;
}

// ---------------------------------------------------------------- Keras and PyTorch, by op lstm

Model held_model(const Case& c, std::vector<std::string> states) {
  Model m{.variables = new_variables(c), .states = std::move(states)};
  const Json& params = c.at("params");
  for (size_t i = 0; i < params.keys.size(); ++i)
    m.variables->add(params.keys[i], read_shape(params.items[i].at("shape")), rein::zeros());
  return m;
}

Value reversed(Value x) {
  Values rows = rein::unstack(x);
  std::ranges::reverse(rows);
  return rein::stack(rows);
}

// A parameter beside a value; nothing if there is none of this name.
std::optional<Value> weight_if(Variables& variables, const Value& beside, const std::string& name) {
  if (!variables.contains(name)) return {};
  return beside.graph().parameter(variables.at(name));
}

Model keras_lstm_model(const Case& c) {
  Model m = held_model(c, {"h", "c"});
  const bool backwards = flag_or(c.attrs(), "go_backwards", false);
  m.run = [backwards](Variables& variables, const Inputs& in) -> Sequence {
    const Value x = in.at("x");
    const auto weight = [&](const char* name) { return weight_if(variables, x, name); };
    const auto w =
        keras_lstm(weight("kernel").value(), weight("recurrent_kernel").value(), weight("bias"));
    const rein::Shape state{x.shape()[1], w.bias.shape()[0] / 4};
    const auto result =
        rein::lstm(backwards ? reversed(x) : x, w.kernel, w.bias, state_of(in, "h", state),
                   state_of(in, "c", state), {.forget_bias = 0});
    return {result.outputs, {result.h, result.c}};
  };
  return m;
}

// States are [layers, B, H].
Model torch_lstm_model(const Case& c) {
  unset(c.attrs(), {"bidirectional", "proj_size"});
  Model m = held_model(c, {"h", "c"});
  const auto layers = static_cast<int64_t>(number_or(c.attrs(), "num_layers", 1));
  const auto units = c.attrs().at("hidden_size").as<int64_t>();
  m.run = [layers, units](Variables& variables, const Inputs& in) -> Sequence {
    Value x = in.at("x");
    const rein::Shape state{layers, x.shape()[1], units};
    const Values h = rein::unstack(state_of(in, "h", state));
    const Values cell = rein::unstack(state_of(in, "c", state));
    Values last_h, last_c;
    for (size_t k = 0; k < h.size(); ++k) {
      const auto weight = [&](const std::string& name) {
        return weight_if(variables, x, name + "_l" + std::to_string(k));
      };
      const auto w = torch_lstm(weight("weight_ih").value(), weight("weight_hh").value(),
                                weight("bias_ih"), weight("bias_hh"));
      const auto result = rein::lstm(x, w.kernel, w.bias, h[k], cell[k], {.forget_bias = 0});
      x = result.outputs;
      last_h.push_back(result.h);
      last_c.push_back(result.c);
    }
    return {x, {rein::stack(last_h), rein::stack(last_c)}};
  };
  return m;
}

// ---------------------------------------------------------------- running and comparing

using Tensors = std::map<std::string, Tensor, std::less<>>;

Tensors read_inputs(const Case& c) {
  Tensors inputs{{"x", read_tensor(c.at("x"))}};
  if (const Json* lengths = c.find("lengths")) inputs["lengths"] = read_tensor(*lengths);
  for (const std::string group : {"initial_state", "upstream"})
    if (const Json* json = c.find(group))
      for (size_t i = 0; i < json->keys.size(); ++i)
        inputs[group + "/" + json->keys[i]] = read_tensor(json->items[i]);
  return inputs;
}

// Everything that a case asks for, by name: outputs, final_state/NAME, loss, grads/NAME.
Inputs answer(const Case& c, const Model& model, const Inputs& in) {
  const Sequence sequence = model.run(*model.variables, in);
  Inputs results{{"outputs", sequence.outputs}};
  for (size_t i = 0; i < model.states.size(); ++i)
    results["final_state/" + model.states[i]] = sequence.states[i];
  if (in.find("upstream/outputs") == in.end()) return results;

  Value loss = rein::reduce_sum(in.at("upstream/outputs") * sequence.outputs);
  for (size_t i = 0; i < model.states.size(); ++i)
    loss = loss + rein::reduce_sum(in.at("upstream/" + model.states[i]) * sequence.states[i]);
  results["loss"] = loss;
  const Json* want = c.expect().find("grads");
  if (!want) return results;
  Values sources;
  for (const auto& name : want->keys) {
    const auto input = in.find(name);
    sources.push_back(input != in.end()
                          ? input->second
                          : loss.graph().parameter(model.variables->at(model.prefix + name)));
  }
  const Values grads = rein::gradients(loss, sources);
  for (size_t i = 0; i < grads.size(); ++i) results["grads/" + want->keys[i]] = grads[i];
  return results;
}

Tensors run_eagerly(const Case& c, const Model& model, const Tensors& inputs) {
  rein::GradientTape tape;
  Inputs in;
  for (const auto& [name, tensor] : inputs) in[name] = tape.input(tensor);
  Tensors results;
  for (const auto& [name, value] : answer(c, model, in)) results[name] = value.tensor();
  return results;
}

Tensors run_recorded(const Case& c, const Model& model, const Tensors& inputs) {
  std::vector<std::string> names;  // of the results
  const auto function = [&](std::span<const Value> values) {
    Inputs in;
    for (auto value = values.begin(); const auto& [name, tensor] : inputs) in[name] = *value++;
    Values results;
    for (const auto& [name, value] : answer(c, model, in)) {
      names.push_back(name);
      results.push_back(value);
    }
    return results;
  };
  std::vector<Tensor> tensors;
  std::vector<rein::Spec> specs;
  for (const auto& [name, tensor] : inputs) {
    tensors.push_back(tensor);
    specs.push_back(tensor.spec());
  }
  rein::ThreadTeam team;
  auto recording = rein::record_forward(function, specs, team);
  recording.run(tensors);
  Tensors results;
  for (size_t i = 0; i < names.size(); ++i) results[names[i]] = recording.output(i).clone();
  return results;
}

void compare(Check& check, const std::string& way, const Tensors& results) {
  const auto one = [&](const std::string& name, const Json& want) {
    const auto found = results.find(name);
    if (found == results.end()) return check.that(false, name + " is nothing that the cell has");
    check.equal(way + name, found->second, want);
  };
  if (const Json* want = check.want("outputs")) one("outputs", *want);
  if (const Json* want = check.want("loss")) one("loss", *want);
  for (const std::string group : {"final_state", "grads"})
    if (const Json* want = check.want(group))
      for (size_t i = 0; i < want->keys.size(); ++i)
        one(group + "/" + want->keys[i], want->items[i]);
}

void run_model(const Case& c, Check& check, const std::string& way, const Model& model) {
  const Json& params = c.at("params");
  for (size_t i = 0; i < params.keys.size(); ++i)
    model.variables->assign(model.variables->at(model.prefix + params.keys[i]),
                            read_tensor(params.items[i]));
  const Tensors inputs = read_inputs(c);
  compare(check, "eager " + way, run_eagerly(c, model, inputs));
  compare(check, "recorded " + way, run_recorded(c, model, inputs));
}

void tensorflow(const Case& c, Check& check) {
  run_model(c, check, "static_rnn: ", tensorflow_model(c, by_static_rnn));
  if (!c.find("lengths")) run_model(c, check, "steps: ", tensorflow_model(c, by_steps));
}

void keras(const Case& c, Check& check) { run_model(c, check, "", keras_lstm_model(c)); }
void torch(const Case& c, Check& check) { run_model(c, check, "", torch_lstm_model(c)); }

}  // namespace

Family cell_family() {
  const Names inputs{"params", "x", "initial_state", "upstream"};
  const Names or_lengths{"params", "x", "initial_state", "upstream", "lengths"};
  const Names expect{"outputs", "final_state", "loss", "grads"};
  const Names lstm{"num_units", "forget_bias", "activation"};
  const Names lstm_cell{"num_units",     "forget_bias", "activation", "cell_clip",
                        "use_peepholes", "num_proj",    "proj_clip"};
  const Names rnn{"num_units", "activation"};
  const Names keras_lstm{"units", "use_bias", "unit_forget_bias", "go_backwards"};
  const Names torch_lstm{"input_size", "hidden_size",   "bias",
                         "num_layers", "bidirectional", "proj_size"};
  return {{"BasicLSTMCell", "tensorflow", lstm, or_lengths, expect, tensorflow},
          {"LSTMCell", "tensorflow", lstm_cell, or_lengths, expect, tensorflow},
          {"BasicRNNCell", "tensorflow", rnn, or_lengths, expect, tensorflow},
          {"MultiRNNCell", "tensorflow", {"cells"}, or_lengths, expect, tensorflow},
          {"LSTM", "keras", keras_lstm, inputs, expect, keras},
          {"LSTM", "pytorch", torch_lstm, inputs, expect, torch}};
}

}  // namespace golden
