#include "train/keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace rein {

Keeper::Keeper(const Rollback& s, const AnyRule& rule, Where where)
    : settings_(s), first_rule_(rule), rule_(rule) {
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
  if (parameters_.size() != variables.size()) {
    parameters_.clear(), names_.clear();
    for (const auto& entry : variables.layout().entries) {
      names_.push_back(entry.name);
      parameters_.emplace_back(entry.spec);
    }
  }
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < parameters_.size(); ++i)
      std::ranges::copy(variables.values<T>(i), parameters_[i].template flat<T>().begin());
  });
  process_state_.clear(), rule_state_.clear();
  process.pack(process_state_), rule.pack(rule_state_);
  healthy_ = 0;
}

void Keeper::look_at_loss(StepInfo& info, const AnyState& process) {
  const double most = settings_.loss_above * loss_;
  info.skip = loss_ > 0 && info.loss > most && std::isfinite(info.loss);
  if (!copies_now() && !gives_up_next()) return;
  coming_.clear();
  process.pack(coming_);
}

void Keeper::see(StepInfo& info, bool excused, Variables& variables, AnyState& process,
                 AnyState& rule) {
  info.skip |= excused || !std::isfinite(info.loss);
  info.rollbacks = rollbacks_;
  if (excused) return;
  if (!info.skip) {
    bad_ = 0;
    if (copies_now()) {
      keep(variables, process, rule);
      std::swap(process_state_, coming_);
      loss_ = info.loss;
    }
    ++healthy_;
  } else if (bad_ < settings_.most_bad) {
    ++bad_;
  } else if (gives_up_next()) {
    coming_.rewind();
    process.unpack(coming_);
    throw NonFiniteError(fmt::format(
        "Step: step {} (loss {}{}) is bad after {} bad steps in a row, and parameters were rolled "
        "back {} times before, the learning rate with them to {} of what it was; nothing was "
        "changed. Begin with a lower learning rate, or clip",
        info.step, info.loss,
        info.non_finite.empty() ? ""
                                : fmt::format(", gradient of '{}' not finite", info.non_finite),
        bad_, rollbacks_, std::pow(settings_.rate_factor, static_cast<double>(rollbacks_))));
  } else {
    for (size_t i = 0; i < parameters_.size(); ++i) variables.assign(variables[i], parameters_[i]);
    process_state_.rewind(), rule_state_.rewind();
    process.unpack(process_state_), rule.unpack(rule_state_);
    bad_ = healthy_ = 0;
    ++rollbacks_;
    set_rate();
    info.rolled_back = true;
    info.rollbacks = rollbacks_;
  }
}

void Keeper::save(const std::string& path, AnyState& process, AnyState& rule, StateDict& out) {
  save_fields(path, *this, out);
  for (size_t i = 0; i < names_.size(); ++i)
    out[path + "/kept/parameters/" + names_[i]] = parameters_[i].clone();
  const auto save_kept = [&](Packed& kept, AnyState& present, const std::string& name) {
    Packed now;
    present.pack(now);
    struct Restore {
      AnyState& state;
      Packed& now;
      ~Restore() { state.unpack(now); }
    } restore{present, now};
    kept.rewind();
    present.unpack(kept);
    present.save(path + "/kept/" + name, out);
  };
  save_kept(process_state_, process, "process");
  save_kept(rule_state_, rule, "rule");
}

void Keeper::load(const std::string& path, AnyState& process, AnyState& rule, StateReader& in) {
  load_fields(path, *this, in);
  for (size_t i = 0; i < names_.size(); ++i)
    if (const Tensor* saved =
            in.find(path + "/kept/parameters/" + names_[i], parameters_[i].spec());
        saved && in.writes())
      std::memcpy(parameters_[i].data(), saved->data(), saved->spec().bytes());
  process.load(path + "/kept/process", in);
  rule.load(path + "/kept/rule", in);
  if (!in.writes()) return;
  process_state_.clear(), rule_state_.clear();
  process.pack(process_state_), rule.pack(rule_state_);
  set_rate();
}

}  // namespace rein
