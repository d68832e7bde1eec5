#include "rein/train/optimizer.h"

#include <fmt/format.h>

#include <vector>

#include "process/check.h"
#include "train/placed.h"

namespace rein {

GradsAndVars zip(std::span<const Gradient> gradients, Variables& variables, Where where) {
  if (gradients.size() != variables.size())
    throw InvalidArgument(
        "zip", fmt::format("{} gradients for {} variables", gradients.size(), variables.size()),
        where);
  GradsAndVars pairs;
  for (size_t i = 0; i < gradients.size(); ++i) pairs.push_back({gradients[i], variables[i]});
  return pairs;
}

namespace {

GradsAndVars compute(Value loss, std::span<const Variable> variables, Where where) {
  if (variables.empty())
    throw InvalidArgument("compute_gradients", "there are no variables to optimize", where);
  auto gradients = compute_gradients(loss, variables, where);
  GradsAndVars pairs;
  for (size_t i = 0; i < variables.size(); ++i)
    pairs.push_back({std::move(gradients[i]), variables[i]});
  return pairs;
}

std::string names_of(std::span<const GradAndVar> pairs) {
  std::string names;
  for (const auto& pair : pairs) {
    if (!names.empty()) names += ", ";
    names += fmt::format("'{}'", pair.var.name());
  }
  return names;
}

}  // namespace

GradsAndVars Optimizer::compute_gradients(Value loss, Variables& variables, Where where) const {
  std::vector<Variable> all;
  for (size_t i = 0; i < variables.size(); ++i) all.push_back(variables[i]);
  return compute(loss, all, where);
}

GradsAndVars Optimizer::compute_gradients(Value loss, Where where) const {
  return compute(loss, loss.graph().variables(), where);
}

bool Optimizer::minimize(Value loss, Variables& variables, Where where) {
  return apply_gradients(compute_gradients(loss, variables, where), where);
}

bool Optimizer::minimize(Value loss, Where where) {
  return apply_gradients(compute_gradients(loss, where), where);
}

namespace {

[[noreturn]] void refuse_state(std::string_view op, const Optimizer& optimizer, Where where) {
  throw InvalidArgument(
      op,
      fmt::format("{} does not say what it remembers; it needs state and load_state",
                  optimizer.name()),
      where);
}

}  // namespace

StateDict Optimizer::state(Where where) const { refuse_state("Optimizer::state", *this, where); }

void Optimizer::load_state(const StateDict&, Variables&, SavedSettings, Where where) {
  refuse_state("Optimizer::load_state", *this, where);
}

namespace {

// Everything that apply_gradients refuses of a list, before anything is changed.
void check_list(std::span<const GradAndVar> pairs, const Variables& store, Where where) {
  constexpr std::string_view op = "apply_gradients";
  std::vector<char> seen(store.size(), 0);
  bool any = false;
  for (const auto& [grad, var] : pairs) {
    if (var.store != &store)
      throw InvalidArgument(op,
                            fmt::format("'{}' belongs to other Variables; give each set an "
                                        "optimizer of its own",
                                        var.name()),
                            where);
    if (seen[var.index]++)
      throw InvalidArgument(op, fmt::format("'{}' occurs twice", var.name()), where);
    if (!grad) continue;
    any = true;
    if (const Spec got{grad.shape(), grad.values().dtype()}; got != var.spec())
      throw InvalidArgument(op,
                            fmt::format("'{}' is {}, its gradient {}", var.name(),
                                        to_string(var.spec()), to_string(got)),
                            where);
    if (grad.is_sparse()) validate(grad.sparse(), where);
  }
  if (!any)
    throw InvalidArgument(
        op,
        fmt::format("all gradients are absent: the loss does not depend on {}", names_of(pairs)),
        where);
}

// The set that a list is of: the one that is known, or the first. Throws what apply_gradients
// refuses.
Variables& checked_store(std::span<const GradAndVar> pairs, Variables* known,
                         const std::optional<Gradients>& gradients, Where where) {
  if (pairs.empty())
    throw InvalidArgument("apply_gradients", "the list of gradients is empty", where);
  for (const GradAndVar& pair : pairs)
    if (!pair.var.store) throw InvalidArgument("apply_gradients", "a pair has no variable", where);
  Variables& store = known ? *known : *pairs[0].var.store;
  check_list(pairs, store, where);
  if (gradients && gradients->size() != store.size())
    throw InvalidArgument("apply_gradients",
                          "variables were added after the first step; what the optimizer remembers "
                          "has no place for them",
                          where);
  return store;
}

void put(std::span<const GradAndVar> pairs, Gradients& gradients, Where where) {
  for (size_t i = 0; i < gradients.size(); ++i) gradients.set_kind(i, Gradients::Kind::absent);
  for (const auto& [grad, var] : pairs) gradients.set(var.index, grad, where);
  gradients.scale = 1;
}

}  // namespace

void RuleOptimizer::begin(Variables& variables, Where where) {
  if (state_) return;
  state_ = placed("apply_gradients", where, [&] { return rule_.init(variables); });
  gradients_.emplace(variables);
  variables_ = &variables;
}

Tensor RuleOptimizer::average(const Variable& variable, Where where) {
  if (!state_)
    throw InvalidArgument("Optimizer::average", "there is none before the first update", where);
  return placed("Optimizer::average", where, [&] { return rule_.average(*state_, variable); });
}

StateDict RuleOptimizer::state(Where where) const {
  if (!state_)
    throw InvalidArgument("Optimizer::state", "there is none before the first update", where);
  return placed("Optimizer::state", where, [&] {
    StateDict out;
    save_parameters("parameters", *variables_, out);
    state_->save("rule", out);
    Settings settings;
    rule_.describe("rule", settings);
    save_settings(settings, out);
    return out;
  });
}

void RuleOptimizer::load_state(const StateDict& saved, Variables& variables, SavedSettings mode,
                               Where where) {
  if (variables_ && variables_ != &variables)
    throw InvalidArgument("Optimizer::load_state",
                          "the optimizer belongs to other Variables; give each set its own", where);
  // Into a fresh state, which takes its place when all is well.
  AnyRule::State state =
      placed("Optimizer::load_state", where, [&] { return rule_.init(variables); });
  Settings settings;
  rule_.describe("rule", settings);
  StateReader reader(saved);
  const auto pass = [&] {
    load_parameters("parameters", variables, reader);
    state.load("rule", reader);
    load_settings(settings, mode, reader);
  };
  placed("Optimizer::load_state", where, pass);
  reader.check("Optimizer::load_state", where);
  pass();
  begin(variables, where);
  state_ = std::move(state);
}

bool RuleOptimizer::apply_gradients(std::span<const GradAndVar> pairs, Where where) {
  Variables& store = checked_store(pairs, variables_, gradients_, where);
  begin(store, where);
  put(pairs, *gradients_, where);
  ThreadTeam alone(1);
  return placed("apply_gradients", where, [&] {
    return apply_updates(store, *gradients_, rule_, *state_, {}, team_ ? *team_ : alone);
  });
}

GradsAndVars detail::transformed(std::span<const GradAndVar> pairs, const TransformGrads& transform,
                                 Where where) {
  std::vector<Gradient> gradients;
  for (const auto& pair : pairs) gradients.push_back(pair.grad);
  gradients = transform(gradients);
  if (gradients.size() != pairs.size())
    throw InvalidArgument(
        "transform_gradients",
        fmt::format("the function gave {} gradients for {}", gradients.size(), pairs.size()),
        where);
  GradsAndVars result;
  for (size_t i = 0; i < pairs.size(); ++i)
    result.push_back({std::move(gradients[i]), pairs[i].var});
  return result;
}

AnyTransform detail::global_norm_clip(double clip_norm, Where where) {
  check_threshold("clip_gradients_by_norm", clip_norm, Semantics::safe, where);
  return ClipByGlobalNorm{.clip_norm = clip_norm};
}

bool detail::ListTransform::run(std::span<const GradAndVar> pairs, const Apply& apply,
                                Where where) {
  Variables& store = checked_store(pairs, variables_, gradients_, where);
  if (!state_) {
    state_ = placed("apply_gradients", where, [&] { return transform_.init(store); });
    gradients_.emplace(store);
    variables_ = &store;
  }
  put(pairs, *gradients_, where);
  StepInfo info{.step = info_.step + 1};
  placed("apply_gradients", where, [&] { transform_.update(*gradients_, *state_, store, info); });
  if (!info.skip) {
    GradsAndVars list;
    for (const GradAndVar& pair : pairs)
      list.push_back({gradients_->get(pair.var.index), pair.var});
    info.skip = !apply(list);
  }
  if (!info.skip) transform_.remember(*state_);
  info_ = std::move(info);
  return !info_.skip;
}

namespace {

constexpr std::string_view kInner = "inner/";

}  // namespace

StateDict detail::ListTransform::state(const StateDict& inner, Where where) const {
  if (!state_)
    throw InvalidArgument("Optimizer::state", "there is none before the first update", where);
  return placed("Optimizer::state", where, [&] {
    StateDict out;
    for (const auto& [name, value] : inner) out[std::string(kInner) + name] = value;
    state_->save("process", out);
    out["step"] = info_.step;
    Settings settings;
    transform_.describe("process", settings);
    save_settings(settings, out);
    return out;
  });
}

void detail::ListTransform::load_state(const StateDict& saved, Variables& variables,
                                       SavedSettings mode, const Load& load_inner, Where where) {
  if (variables_ && variables_ != &variables)
    throw InvalidArgument("Optimizer::load_state",
                          "the optimizer belongs to other Variables; give each set its own", where);
  StateDict own, of_inner;
  for (const auto& [name, value] : saved)
    if (name.starts_with(kInner))
      of_inner[name.substr(kInner.size())] = value;
    else
      own[name] = value;
  AnyTransform::State state =
      placed("Optimizer::load_state", where, [&] { return transform_.init(variables); });
  Settings settings;
  transform_.describe("process", settings);
  StepInfo info;
  StateReader reader(own);
  const auto pass = [&] {
    state.load("process", reader);
    if (const int64_t* step = reader.find<int64_t>("step")) info.step = *step;
    load_settings(settings, mode, reader);
  };
  placed("Optimizer::load_state", where, pass);
  reader.check("Optimizer::load_state", where);
  load_inner(of_inner);
  pass();
  gradients_.emplace(variables);
  variables_ = &variables;
  state_ = std::move(state);
  info_ = std::move(info);
}

}  // namespace rein
