// Settings that change while training.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "rein/base/error.h"
#include "rein/base/fields.h"

namespace rein {

/// A schedule of its own kind: public settings that it lists, and the value at a step (from 0). It
/// may have `void check(Where) const`, which throws InvalidArgument for settings that make no
/// sense, and `std::shared_ptr<SettingState> live() const` if it changes by what it is told.
template <class S>
concept ScheduleStruct = HasFields<S> && requires(const S& s, int64_t step) {
  { S::name } -> std::convertible_to<std::string_view>;
  { s.at(step) } -> std::same_as<double>;
};

template <class F>
concept ScheduleFunction = std::is_invocable_r_v<double, const F&, int64_t> && !ScheduleStruct<F>;

/// A setting that may follow the step: a number, one of the structs of rein/apply/schedules.h, or a
/// function of the step (from 0, as TensorFlow's global_step).
class Schedule {
 public:
  Schedule(double value) : value_(value) {}
  template <ScheduleFunction F>
  Schedule(F function) : self_(std::make_shared<const Function<F>>(std::move(function))) {}
  /// Throws InvalidArgument for settings that make no sense.
  template <ScheduleStruct S>
  Schedule(S schedule, Where where = Where::here()) {
    if constexpr (requires { schedule.check(where); }) schedule.check(where);
    self_ = std::make_shared<const Struct<S>>(std::move(schedule));
  }

  double at(int64_t step) const { return self_ ? self_->at(step) : value_; }
  bool is_constant() const { return !self_; }
  /// `factor` times this one.
  Schedule times(double factor) const {
    if (!self_) return factor * value_;
    return [all = *this, factor](int64_t step) { return factor * all.at(step); };
  }

  /// A number is itself; a struct its name and settings; a function only says that it is one.
  void describe(std::string_view path, Settings& out) const {
    if (self_)
      self_->describe(path, out);
    else
      out.fields.push_back({std::string(path), value_});
  }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual double at(int64_t step) const = 0;
    virtual void describe(std::string_view path, Settings& out) const = 0;
  };
  template <class F>
  struct Function final : Interface {
    explicit Function(F f) : function(std::move(f)) {}
    double at(int64_t step) const override { return function(step); }
    void describe(std::string_view path, Settings& out) const override {
      out.fields.push_back({std::string(path), std::string("a function")});
    }
    F function;
  };
  template <class S>
  struct Struct final : Interface {
    explicit Struct(S s) : schedule(std::move(s)) {}
    double at(int64_t step) const override { return schedule.at(step); }
    void describe(std::string_view path, Settings& out) const override {
      out.fields.push_back({std::string(path), std::string(S::name)});
      rein::describe(path, schedule, out);
      if constexpr (requires { schedule.live(); })
        out.live.push_back({std::string(path), schedule.live()});
    }
    S schedule;
  };

  double value_ = 0;
  std::shared_ptr<const Interface> self_;
};

}  // namespace rein
