// Stage 3: update rules turn gradients into deltas; `apply_updates` adds them to the parameters,
// and nothing else does.
#pragma once

#include <any>
#include <concepts>
#include <functional>
#include <memory>
#include <string_view>

#include "rein/process/step_info.h"
#include "rein/tensor/variables.h"

namespace rein {

/// A setting that may follow the step: a number, or a function of the step (from 0, as TensorFlow's
/// global_step).
class Schedule {
 public:
  Schedule(double value) : value_(value) {}
  template <class F>
  requires std::is_invocable_r_v<double, const F&, int64_t> Schedule(F function)
      : function_(std::move(function)) {}
  double at(int64_t step) const { return function_ ? function_(step) : value_; }

 private:
  double value_ = 0;
  std::function<double(int64_t)> function_;
};

/// A number for each parameter, laid out as the parameters are: what a rule remembers.
class Slot {
 public:
  Slot() = default;
  Slot(std::string_view name, const Variables& variables, double initial = 0);

  const std::string& name() const { return name_; }
  /// All of it, padding included; `delta` gets offsets into this.
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(block_.data());
  }
  Tensor read(const Variable& variable) const;
  void assign(const Variable& variable, const Tensor& value);

 private:
  std::string name_;
  Buffer block_;
};

/// How a rule wants a sparse gradient.
enum class SparseUpdate : uint8_t {
  rows,  // only the rows that are there are seen
  dense  // as the dense gradient that it stands for: what the rule remembers decays everywhere
};

/// An update rule: public settings, and a State apart from them.
///  - `begin` once a step (bias corrections, the learning rate);
///  - `delta` turns a block of gradients into what is to be added to the parameters, in place;
///    `offset` is its place in the slots;
///  - `slots` lists what it remembers, by name.
template <class R>
concept Rule = requires(const R r, typename R::State& state, const Variables& variables,
                        std::span<float> f, std::span<double> d, size_t offset) {
  { R::name } -> std::convertible_to<std::string_view>;
  { R::sparse_update } -> std::convertible_to<SparseUpdate>;
  { r.init(variables) } -> std::same_as<typename R::State>;
  { r.begin(state) } -> std::same_as<void>;
  { r.delta(f, state, offset) } -> std::same_as<void>;
  { r.delta(d, state, offset) } -> std::same_as<void>;
  { r.slots(state) } -> std::same_as<std::vector<Slot*>>;
};

/// Any rule, as a value.
class AnyRule {
 public:
  using State = std::any;

  template <class R>
  requires(!std::same_as<R, AnyRule>) && Rule<R> AnyRule(R rule)
      : self_(std::make_shared<const Holder<R>>(std::move(rule))) {}

  std::string_view name() const { return self_->name(); }
  SparseUpdate sparse_update() const { return self_->sparse_update(); }
  /// Throws InvalidArgument for settings that make no sense.
  State init(const Variables& variables) const { return self_->init(variables); }
  void begin(State& state) const { self_->begin(state); }
  void delta(std::span<float> d, State& state, size_t offset) const {
    self_->delta(d, state, offset);
  }
  void delta(std::span<double> d, State& state, size_t offset) const {
    self_->delta(d, state, offset);
  }
  std::vector<Slot*> slots(State& state) const { return self_->slots(state); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::string_view name() const = 0;
    virtual SparseUpdate sparse_update() const = 0;
    virtual State init(const Variables& variables) const = 0;
    virtual void begin(State& state) const = 0;
    virtual void delta(std::span<float> d, State& state, size_t offset) const = 0;
    virtual void delta(std::span<double> d, State& state, size_t offset) const = 0;
    virtual std::vector<Slot*> slots(State& state) const = 0;
  };
  template <class R>
  struct Holder final : Interface {
    explicit Holder(R r) : rule(std::move(r)) {}
    static typename R::State& cast(State& s) {
      return *std::any_cast<std::shared_ptr<typename R::State>&>(s);
    }
    std::string_view name() const override { return R::name; }
    SparseUpdate sparse_update() const override { return R::sparse_update; }
    State init(const Variables& variables) const override {
      return std::make_shared<typename R::State>(rule.init(variables));
    }
    void begin(State& s) const override { rule.begin(cast(s)); }
    void delta(std::span<float> d, State& s, size_t o) const override { rule.delta(d, cast(s), o); }
    void delta(std::span<double> d, State& s, size_t o) const override {
      rule.delta(d, cast(s), o);
    }
    std::vector<Slot*> slots(State& s) const override { return rule.slots(cast(s)); }
    R rule;
  };
  std::shared_ptr<const Interface> self_;
};

}  // namespace rein
