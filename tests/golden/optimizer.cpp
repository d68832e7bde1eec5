// Family optimizer: rules through `apply_updates`, parameters after every step and slots at the
// end.
#include <algorithm>
#include <optional>

#include "rein/apply/apply.h"
#include "rein/nn/initializers.h"
#include "rules.h"

namespace golden {
namespace {

using rein::Tensor;
using rein::Variable;
using rein::Variables;

void add_variables(Variables& variables, const Json& params) {
  for (size_t i = 0; i < params.items.size(); ++i) {
    const Tensor value = read_tensor(params.items[i]);
    variables.assign(variables.add(indexed("param", i), value.shape(), rein::zeros()), value);
  }
}

// What a test looks at after each update.
using Snapshot = std::vector<Tensor>;
Snapshot read_all(Variables& variables) {
  Snapshot all;
  for (size_t i = 0; i < variables.size(); ++i) all.push_back(variables[i].read());
  return all;
}

rein::Slot& slot_of(const std::vector<rein::Slot*>& slots, const std::string& name) {
  for (auto* slot : slots)
    if (slot->name() == name) return *slot;
  throw std::runtime_error("the rule has no slot '" + name + "'");
}

const SlotName& slot_name(const RuleSetup& setup, const std::string& theirs) {
  for (const auto& name : setup.slots)
    if (name.theirs == theirs) return name;
  throw Skip("slot '" + theirs + "' is not built yet");
}

void set_slots(const Case& c, const RuleSetup& setup, rein::AnyRule::State& state,
               Variables& variables) {
  const Json* initial = c.find("initial_slots");
  if (!initial) return;
  for (size_t k = 0; k < initial->keys.size(); ++k) {
    const auto& name = slot_name(setup, initial->keys[k]);
    for (size_t i = 0; i < variables.size(); ++i) {
      const Json& value = initial->items[k].items.at(i);
      if (!value.is_null())
        slot_of(setup.rule.slots(state), name.ours).assign(variables[i], read_tensor(value));
    }
  }
}

void compare_slots(const Case& c, Check& check, const RuleSetup& setup, rein::AnyRule::State& state,
                   Variables& variables) {
  const Json* want = check.want("slots");
  if (!want) return;
  const Tolerance tolerance{number_or(*c.json, "slots_rtol", 0),
                            number_or(*c.json, "slots_atol", 0)};
  for (size_t k = 0; k < want->keys.size(); ++k) {
    const auto& theirs = want->keys[k];
    const auto& values = want->items[k].items;
    for (size_t i = 0; i < variables.size(); ++i) {
      const std::string what = indexed("slots." + theirs, i);
      if (values.at(i).is_null()) continue;  // theirs has none; ours is as it was made
      const auto scalar = std::ranges::find(setup.scalars, theirs, &Scalar::theirs);
      if (scalar != setup.scalars.end()) {
        check.equal(what, scalar->read(state, i), values[i]);
        continue;
      }
      const auto& name = slot_name(setup, theirs);
      if (name.ours.empty()) continue;  // theirs is of no use later
      const Tensor got = slot_of(setup.rule.slots(state), name.ours).read(variables[i]);
      check.equal(what, got, values[i], tolerance);
    }
  }
}

void compare_params(Check& check, const std::string& what, const Snapshot& got, const Json& want) {
  if (want.is_null()) return;
  check.that(want.items.size() == got.size(), what + ": another number of parameters");
  for (size_t i = 0; i < std::min(got.size(), want.items.size()); ++i)
    check.equal(indexed(what, i), got[i], want.items[i]);
}

void compare_history(const Case& c, Check& check, const std::vector<Snapshot>& history) {
  const size_t updates = history.size() - 1;  // history[t]: after t updates
  if (const Json* want = check.want("params")) {
    check.that(want->items.size() == updates, "params: another number of steps");
    for (size_t t = 0; t < std::min(updates, want->items.size()); ++t)
      compare_params(check, indexed("params", t), history[t + 1], want->items[t]);
  }
  if (const Json* want = check.want("params_at")) {
    const auto& at = c.attrs().at("at").items;
    check.that(at.size() == want->items.size(), "params_at: another number of steps than 'at'");
    for (size_t k = 0; k < std::min(at.size(), want->items.size()); ++k) {
      const auto t = static_cast<size_t>(at[k].as<int64_t>());
      compare_params(check, indexed("params_at", k), history.at(t), want->items[k]);
    }
  }
  if (const Json* want = check.want("equal_params")) {
    const auto index = [&](size_t k) {
      return static_cast<size_t>(want->items.at(k).as<int64_t>());
    };
    const Snapshot& last = history.back();
    check.that(same_bits(last.at(index(0)), last.at(index(1))), "equal_params: they differ");
  }
}

void run(const Case& c, Check& check) {
  Rates rates;
  if (const Json* list = c.find("learning_rates"))
    for (const auto& item : list->items) rates.push_back(item.as<double>());
  const auto& readers = rule_readers();
  const auto reader = std::find_if(readers.begin(), readers.end(), [&](const RuleReader& r) {
    return r.op == c.op && r.semantics == c.semantics;
  });
  const RuleSetup setup = reader->make(c.attrs(), rates);

  const Json& gradients = c.at("gradients");
  Variables variables{{}, read_tensor(c.at("params").items.at(0)).dtype()};
  add_variables(variables, c.at("params"));

  rein::ThreadTeam team;
  auto state = setup.rule.init(variables);
  auto process = setup.process.init(variables);
  set_slots(c, setup, state, variables);
  std::vector<Snapshot> history{read_all(variables)};
  std::optional<rein::Gradients> sum;
  for (size_t t = 0; t < gradients.items.size(); ++t) {
    rein::Gradients step(variables);
    const auto given = read_gradients(gradients.items[t]);
    for (size_t i = 0; i < given.size(); ++i) step.set(i, given[i]);
    if (!sum) sum.emplace(variables);
    sum->add(step);
    if ((t + 1) % setup.micro_batches == 0) {
      sum->scale = 1.0 / static_cast<double>(setup.micro_batches);
      rein::StepInfo info;
      setup.process.update(*sum, process, variables, info);
      rein::apply_updates(variables, *sum, setup.rule, state, info, team);
      setup.process.remember(process);
      sum.reset();
    }
    history.push_back(read_all(variables));
  }
  compare_history(c, check, history);
  compare_slots(c, check, setup, state, variables);
}

}  // namespace

Family optimizer_family() {
  Family family;
  for (const auto& reader : rule_readers()) {
    Names attrs = reader.attrs;
    attrs.push_back("at");
    family.push_back({reader.op,
                      reader.semantics,
                      attrs,
                      {"params", "gradients", "learning_rates", "initial_slots"},
                      {"params", "slots", "params_at", "equal_params"},
                      run});
  }
  return family;
}

}  // namespace golden
