// Family cell: recurrent cells over a sequence, forward and backward; eagerly and recorded, and for
// TensorFlow's cells both by static_rnn, which takes the fused op where there is one, and step by
// step.
#include "rein/nn/cell.h"

#include <algorithm>
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

// What a cell makes of a sequence: [T, B, H] and its states after it.
struct Sequence {
  Value outputs;
  Values states;
};

struct Model {
  std::unique_ptr<Variables> variables;
  std::string prefix{};             // of the names that the parameters have here
  std::vector<std::string> states;  // their names in the file
  std::function<Sequence(Variables& variables, Value x, const Values& initial)> run{};
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
  if (op == "BasicLSTMCell") {
    only(attrs, {"op", "num_units", "forget_bias", "activation"}, "attribute");
    if (read_activation(attrs) != rein::Activation::tanh)
      throw Skip("an LSTM of another activation is not built yet");
    return std::make_shared<rein::BasicLSTMCell>(
        variables, name, inputs, attrs.at("num_units").as<int64_t>(),
        rein::BasicLSTMCellOptions{.forget_bias = number_or(attrs, "forget_bias", 1)});
  }
  if (op == "BasicRNNCell") {
    only(attrs, {"op", "num_units", "activation"}, "attribute");
    return std::make_shared<rein::BasicRNNCell>(
        variables, name, inputs, attrs.at("num_units").as<int64_t>(),
        rein::BasicRNNCellOptions{.activation = read_activation(attrs)});
  }
  throw Skip("cell '" + op + "' is not built yet");
}

Sequence by_static_rnn(const rein::RNNCell& cell, Value x, const Values& initial) {
  const auto [outputs, state] = rein::static_rnn(cell, rein::unstack(x), rein::CellState{initial});
  return {rein::stack(outputs), state.values};
}

Sequence by_steps(const rein::RNNCell& cell, Value x, const Values& initial) {
  rein::CellState state{initial};
  Values outputs;
  for (const Value& row : rein::unstack(x)) {
    const auto result = cell.step(row, state);
    outputs.push_back(result.output);
    state = result.state;
  }
  return {rein::stack(outputs), state.values};
}

Model tensorflow_model(const Case& c, bool by_step) {
  Model m{
      .variables = new_variables(c), .prefix = c.op == "MultiRNNCell" ? "" : "cell/", .states = {}};
  const auto cell = make_cell(*m.variables, c.op, c.attrs(), "cell", width(c));
  m.states = cell->state_names();
  m.run = [cell, by_step](Variables&, Value x, const Values& initial) {
    return by_step ? by_steps(*cell, x, initial) : by_static_rnn(*cell, x, initial);
  };
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
  m.run = [backwards](Variables& variables, Value x, const Values& initial) -> Sequence {
    const auto weight = [&](const char* name) { return weight_if(variables, x, name); };
    const auto w =
        keras_lstm(weight("kernel").value(), weight("recurrent_kernel").value(), weight("bias"));
    const auto result = rein::lstm(backwards ? reversed(x) : x, w.kernel, w.bias, initial[0],
                                   initial[1], {.forget_bias = 0});
    return {result.outputs, {result.h, result.c}};
  };
  return m;
}

// States are [layers, B, H].
Model torch_lstm_model(const Case& c) {
  unset(c.attrs(), {"bidirectional", "proj_size"});
  Model m = held_model(c, {"h", "c"});
  m.run = [](Variables& variables, Value x, const Values& initial) -> Sequence {
    const Values h = rein::unstack(initial[0]), cell = rein::unstack(initial[1]);
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

// Everything that a case asks for, by name, as the results of one function of x, the initial states
// and the upstream weights.
struct Question {
  const Case& c;
  const Model& model;
  std::vector<Tensor> inputs{};
  std::vector<std::string> names{};    // of the results of `answer`
  std::vector<std::string> sources{};  // of the gradients

  Question(const Case& the_case, const Model& the_model) : c(the_case), model(the_model) {
    inputs.push_back(read_tensor(c.at("x")));
    for (const auto& name : model.states)
      inputs.push_back(read_tensor(c.at("initial_state").at(name)));
    names.push_back("outputs");
    for (const auto& name : model.states) names.push_back("final_state/" + name);
    const Json* upstream = c.find("upstream");
    if (!upstream) return;
    inputs.push_back(read_tensor(upstream->at("outputs")));
    for (const auto& name : model.states) inputs.push_back(read_tensor(upstream->at(name)));
    names.push_back("loss");
    if (const Json* grads = c.expect().find("grads")) sources = grads->keys;
    for (const auto& name : sources) names.push_back("grads/" + name);
  }

  Value source(std::span<const Value> in, const std::string& name) const {
    if (name == "x") return in[0];
    for (size_t i = 0; i < model.states.size(); ++i)
      if (name == "initial_state/" + model.states[i]) return in[1 + i];
    return in[0].graph().parameter(model.variables->at(model.prefix + name));
  }

  Values answer(std::span<const Value> in) const {
    const size_t n = model.states.size();
    const Sequence sequence = model.run(*model.variables, in[0],
                                        Values(in.begin() + 1, in.begin() + 1 + std::ptrdiff_t(n)));
    Values results{sequence.outputs};
    results.insert(results.end(), sequence.states.begin(), sequence.states.end());
    if (in.size() == 1 + n) return results;
    Value loss = rein::reduce_sum(in[1 + n] * results[0]);
    for (size_t i = 1; i <= n; ++i) loss = loss + rein::reduce_sum(in[1 + n + i] * results[i]);
    results.push_back(loss);
    Values xs;
    for (const auto& name : sources) xs.push_back(source(in, name));
    const Values grads = rein::gradients(loss, xs);
    results.insert(results.end(), grads.begin(), grads.end());
    return results;
  }
};

void compare_outputs(Check& check, const std::string& way, const Tensor& got, const Json& want) {
  if (!want.is(Json::Kind::array)) return check.equal(way + "outputs", got, want);
  const rein::Shape step(got.shape().dims().subspan(1));  // a list of steps, some of them null
  for (size_t t = 0; t < want.items.size(); ++t)
    check.equal(indexed(way + "outputs", t), got.piece(static_cast<int64_t>(t) * step.size(), step),
                want.items[t]);
}

void compare(Check& check, const std::string& way, const Question& question,
             const std::vector<Tensor>& results) {
  const auto member = [&](const char* group, size_t i, const std::string& name) {
    const Json* want = check.want(group);
    if (const Json* value = want ? want->find(name) : nullptr)
      check.equal(way + question.names[i], results[i], *value);
  };
  if (const Json* want = check.want("outputs")) compare_outputs(check, way, results[0], *want);
  const size_t n = question.model.states.size();
  for (size_t i = 0; i < n; ++i) member("final_state", 1 + i, question.model.states[i]);
  if (results.size() == 1 + n) return;
  if (const Json* want = check.want("loss")) check.equal(way + "loss", results[1 + n], *want);
  for (size_t i = 0; i < question.sources.size(); ++i)
    member("grads", 2 + n + i, question.sources[i]);
}

void load(const Case& c, Model& model) {
  const Json& params = c.at("params");
  for (size_t i = 0; i < params.keys.size(); ++i)
    model.variables->assign(model.variables->at(model.prefix + params.keys[i]),
                            read_tensor(params.items[i]));
}

void run_model(const Case& c, Check& check, const std::string& way, Model model) {
  load(c, model);
  const Question question(c, model);

  rein::GradientTape tape;
  Values values;
  for (const Tensor& input : question.inputs) values.push_back(tape.input(input));
  std::vector<Tensor> results;
  for (const Value& value : question.answer(values)) results.push_back(value.tensor());
  compare(check, "eager " + way, question, results);

  rein::ThreadTeam team;
  std::vector<rein::Spec> specs;
  for (const Tensor& input : question.inputs) specs.push_back(input.spec());
  auto recording = rein::record_forward(
      [&](std::span<const Value> in) { return question.answer(in); }, specs, team);
  recording.run(question.inputs);
  results.clear();
  for (size_t i = 0; i < question.names.size(); ++i) results.push_back(recording.output(i));
  compare(check, "recorded " + way, question, results);
}

void tensorflow(const Case& c, Check& check) {
  run_model(c, check, "static_rnn: ", tensorflow_model(c, false));
  run_model(c, check, "steps: ", tensorflow_model(c, true));
}

void keras(const Case& c, Check& check) { run_model(c, check, "", keras_lstm_model(c)); }
void torch(const Case& c, Check& check) { run_model(c, check, "", torch_lstm_model(c)); }

}  // namespace

Family cell_family() {
  const Names inputs{"params", "x", "initial_state", "upstream"};
  const Names expect{"outputs", "final_state", "loss", "grads"};
  return {{"BasicLSTMCell",
           "tensorflow",
           {"num_units", "forget_bias", "activation"},
           inputs,
           expect,
           tensorflow},
          {"BasicRNNCell", "tensorflow", {"num_units", "activation"}, inputs, expect, tensorflow},
          {"MultiRNNCell", "tensorflow", {"cells"}, inputs, expect, tensorflow},
          {"LSTM",
           "keras",
           {"units", "use_bias", "unit_forget_bias", "go_backwards"},
           inputs,
           expect,
           keras},
          {"LSTM",
           "pytorch",
           {"input_size", "hidden_size", "bias", "num_layers", "bidirectional", "proj_size"},
           inputs,
           expect,
           torch}};
}

}  // namespace golden
