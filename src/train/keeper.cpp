#include "train/keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/number_text.h"

namespace rein {
namespace {

void pack(const AnyState& state, Packed& to) {
  to.clear();
  state.pack(to);
}

void unpack(Packed& from, AnyState& state) {
  from.rewind();
  state.unpack(from);
}

void copy(const Variables& variables, std::vector<Tensor>& to) {
  if (to.size() != variables.size()) {
    to.clear();
    for (const auto& entry : variables.layout().entries) to.emplace_back(entry.spec);
  }
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < to.size(); ++i)
      std::ranges::copy(variables.values<T>(i), to[i].template flat<T>().begin());
  });
}

}  // namespace

Keeper::Keeper(const Rollback& s, const AnyRule& rule, Where where)
    : settings_(s), first_rule_(rule), rule_(rule), rule_refuses_(rule.sees_deltas()) {
  const auto need = [&](bool fine, const char* setting, const char* wish, double got) {
    if (!fine)
      throw InvalidArgument(
          "record", fmt::format("rollback.{} must be {}, got {}", setting, wish, got), where);
  };
  need(s.every > 0, "every", "a number of steps from 1 on", static_cast<double>(s.every));
  need(s.most_bad >= 0, "most_bad", "a number of steps, or 0", static_cast<double>(s.most_bad));
  need(s.loss_above > 1, "loss_above", "above 1", s.loss_above);
  need(s.rate_factor > 0 && s.rate_factor <= 1, "rate_factor", "in (0, 1]", s.rate_factor);
  need(s.most >= 0, "most", "a number, or 0", static_cast<double>(s.most));
  if (const std::string_view part = rule.part_without_rate(); s.rate_factor != 1 && !part.empty())
    throw InvalidArgument("record",
                          fmt::format("a rollback lowers the learning rate, and {} has none; set "
                                      "rollback.rate_factor to 1, or take another rule",
                                      part),
                          where);
}

void Keeper::set_rate() {
  rule_ = first_rule_.slowed(std::pow(settings_.rate_factor, static_cast<double>(rollbacks_)));
}

void Keeper::keep(const Variables& variables, const AnyState& process, const AnyState& rule) {
  names_.clear();
  for (const auto& entry : variables.layout().entries) names_.push_back(entry.name);
  copy(variables, kept_.parameters);
  pack(process, kept_.process), pack(rule, kept_.rule);
  healthy_ = 0;
}

void Keeper::look_at_loss(StepInfo& info, const AnyState& process, const AnyState& rule) {
  const double most = settings_.loss_above * kept_.loss;
  info.skip = kept_.loss > 0 && info.loss > most && std::isfinite(info.loss);
  if (!copies_now() && !gives_up_next()) return;
  pack(process, coming_.process);
  if (rule_refuses_) pack(rule, coming_.rule);
}

void Keeper::see(StepInfo& info, bool excused, Variables& variables, AnyState& process,
                 AnyState& rule) {
  info.skip |= excused || !std::isfinite(info.loss);
  info.rollbacks = rollbacks_;
  if (excused) return;
  if (info.skip) return count_bad(info, variables, process, rule);
  if (!copies_now()) return;
  Copy& made = rule_refuses_ ? coming_ : kept_;
  copy(variables, made.parameters);
  made.loss = info.loss;
  if (rule_refuses_) return;
  pack(rule, kept_.rule);
  std::swap(kept_.process, coming_.process);
}

void Keeper::see_applied(StepInfo& info, Variables& variables, AnyState& process, AnyState& rule) {
  if (info.skip) return count_bad(info, variables, process, rule);
  bad_ = 0;
  if (copies_now()) {
    if (rule_refuses_) std::swap(kept_, coming_);
    healthy_ = 0;
  }
  ++healthy_;
}

void Keeper::count_bad(StepInfo& info, Variables& variables, AnyState& process, AnyState& rule) {
  if (bad_ < settings_.most_bad) {
    ++bad_;
    return;
  }
  if (gives_up_next()) {
    unpack(coming_.process, process);
    if (rule_refuses_) unpack(coming_.rule, rule);
    throw NonFiniteError(fmt::format(
        "Step: step {} (loss {}{}) is bad after {} bad steps in a row, and parameters were rolled "
        "back {} times before, the learning rate with them to {} of what it was; nothing was "
        "changed. Begin with a lower learning rate, or clip",
        info.step, number_text(info.loss),
        info.non_finite.empty() ? ""
                                : fmt::format(", gradient of '{}' not finite", info.non_finite),
        bad_, rollbacks_, std::pow(settings_.rate_factor, static_cast<double>(rollbacks_))));
  }
  for (size_t i = 0; i < names_.size(); ++i) variables.assign(variables[i], kept_.parameters[i]);
  unpack(kept_.process, process), unpack(kept_.rule, rule);
  bad_ = healthy_ = 0;
  ++rollbacks_;
  set_rate();
  info.rolled_back = true;
  info.rollbacks = rollbacks_;
}

void Keeper::save(const std::string& path, AnyState& process, AnyState& rule, StateDict& out) {
  save_fields(path, *this, out);
  for (size_t i = 0; i < names_.size(); ++i)
    out[path + "/kept/parameters/" + names_[i]] = kept_.parameters[i].clone();
  const auto save_kept = [&](Packed& kept, AnyState& present, const std::string& name) {
    Packed now;
    present.pack(now);
    struct Restore {
      AnyState& state;
      Packed& now;
      ~Restore() { state.unpack(now); }
    } restore{present, now};
    unpack(kept, present);
    present.save(path + "/kept/" + name, out);
  };
  save_kept(kept_.process, process, "process");
  save_kept(kept_.rule, rule, "rule");
}

void Keeper::load(const std::string& path, AnyState& process, AnyState& rule, StateReader& in) {
  load_fields(path, *this, in);
  for (size_t i = 0; i < names_.size(); ++i)
    if (const Tensor* saved =
            in.find(path + "/kept/parameters/" + names_[i], kept_.parameters[i].spec());
        saved && in.writes())
      std::memcpy(kept_.parameters[i].data(), saved->data(), saved->spec().bytes());
  process.load(path + "/kept/process", in);
  rule.load(path + "/kept/rule", in);
  if (!in.writes()) return;
  pack(process, kept_.process), pack(rule, kept_.rule);
  set_rate();
}

}  // namespace rein
