// Stage 2: gradients in, gradients out.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rein/process/shards.h"
#include "rein/process/step_info.h"
#include "rein/process/threshold.h"
#include "rein/tensor/state.h"

namespace rein {

/// A gradient transform: public settings, and a State apart from them that `init` makes (throwing
/// InvalidArgument for settings that make no sense). Both list their fields (rein/base/fields.h),
/// the State those that outlive a step; else a step that has it cannot be saved. `update` works in
/// place, leaves absent gradients absent and sparse ones sparse, and may multiply `gradients.scale`
/// instead of all the numbers. `remember(state)`, if it has one, comes after it when the step is
/// applied: what is to be forgotten of a step that is skipped, or ends with an error, is remembered
/// there. It must not throw. `see_skipped(gradients, state, variables, info)`, if it has one, comes
/// in the place of `update` when a step is skipped before it: it changes no gradient.
template <class T>
concept Transform = requires(const T t, typename T::State& state, Gradients& gradients,
                             const Variables& variables, StepInfo& info) {
  { t.init(variables) } -> std::same_as<typename T::State>;
  { t.update(gradients, state, variables, info) } -> std::same_as<void>;
};

/// A function of your own as a transform: of all gradients ...
template <class F>
concept GradientsFunction =
    std::invocable<const F&, Gradients&, const Variables&, StepInfo&> && !Transform<F>;
/// ... or of one gradient at a time: `Gradient(const Gradient&, const std::string& variable)`. It
/// is not called for absent ones.
template <class F>
concept GradientFunction =
    std::is_invocable_r_v<Gradient, const F&, const Gradient&, const std::string&> && !Transform<F>;

/// Any transform, or function of your own, as a value.
class AnyTransform {
 public:
  using State = AnyState;

  template <class T>
  requires(!std::same_as<T, AnyTransform>) &&
      (Transform<T> || GradientsFunction<T> || GradientFunction<T>)AnyTransform(T transform)
      : self_(std::make_shared<const Holder<T>>(std::move(transform))) {}

  State init(const Variables& variables) const { return self_->init(variables); }
  void update(Gradients& gradients, State& state, const Variables& variables,
              StepInfo& info) const {
    self_->update(gradients, state, variables, info);
  }
  /// After `update`, if the step that it saw is not skipped.
  void remember(State& state) const { self_->remember(state); }
  /// In the place of `update`, if the step is skipped before.
  void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const {
    self_->see_skipped(gradients, state, variables, info);
  }
  /// Whether it says what becomes of a step that is not finite, whatever the variable: CheckFinite
  /// does, and so a Chain or Monitor with one in it. Any transform may have this function.
  bool decides_non_finite() const { return self_->decides_non_finite(); }
  /// Whether it may ask to skip a step, or throw. Any transform may have this function; one without
  /// it may, and so may one that has, among its fields, limits that follow the step or the number
  /// of examples, shards, or a transform that may.
  bool may_refuse() const { return self_->may_refuse(); }
  /// Adds the shards that it names, and those of transforms inside it: those among its fields,
  /// unless it has this function.
  void find_shards(std::vector<Shards>& found) const { self_->find_shards(found); }
  /// Its name and settings; a function of your own only says that it is one.
  void describe(std::string_view path, Settings& out) const { self_->describe(path, out); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual State init(const Variables& variables) const = 0;
    virtual void update(Gradients& gradients, State& state, const Variables& variables,
                        StepInfo& info) const = 0;
    virtual void remember(State& state) const = 0;
    virtual void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                             StepInfo& info) const = 0;
    virtual bool decides_non_finite() const = 0;
    virtual bool may_refuse() const = 0;
    virtual void find_shards(std::vector<Shards>& found) const = 0;
    virtual void describe(std::string_view path, Settings& out) const = 0;
  };
  struct RefusalFinder {
    bool& found;
    template <class T>
    requires std::same_as<T, Threshold> || std::same_as<T, Schedule>
    void whole(const std::string&, const T& limit) const { found |= !limit.is_constant(); }
    template <std::same_as<std::optional<Shards>> T>
    void whole(const std::string&, const T& shards) const {
      found |= shards.has_value();  // other ranks may be gone
    }
    template <class T>
    void leaf(const std::string&, const T& x) const {
      if constexpr (requires { x.may_refuse(); }) found |= x.may_refuse();
    }
  };
  static void update_each(
      const std::function<Gradient(const Gradient&, const std::string&)>& function,
      Gradients& gradients);

  template <class T>
  struct Holder final : Interface {
    explicit Holder(T t) : transform(std::move(t)) {}
    State init(const Variables& variables) const override {
      if constexpr (Transform<T>)
        return State(transform.init(variables));
      else
        return {};
    }
    void update(Gradients& gradients, State& state, const Variables& variables,
                StepInfo& info) const override {
      if constexpr (Transform<T>)
        transform.update(gradients, state.as<typename T::State>(), variables, info);
      else if constexpr (GradientsFunction<T>)
        transform(gradients, variables, info);
      else
        update_each(transform, gradients);
    }
    void remember([[maybe_unused]] State& state) const override {
      if constexpr (requires { transform.remember(state.as<typename T::State>()); })
        transform.remember(state.as<typename T::State>());
    }
    void see_skipped([[maybe_unused]] Gradients& gradients, [[maybe_unused]] State& state,
                     [[maybe_unused]] const Variables& variables,
                     [[maybe_unused]] StepInfo& info) const override {
      if constexpr (requires {
                      transform.see_skipped(gradients, state.as<typename T::State>(), variables,
                                            info);
                    })
        transform.see_skipped(gradients, state.as<typename T::State>(), variables, info);
    }
    bool decides_non_finite() const override {
      if constexpr (requires { transform.decides_non_finite(); })
        return transform.decides_non_finite();
      else
        return false;
    }
    bool may_refuse() const override {
      bool may = true;
      if constexpr (requires { transform.may_refuse(); }) may = transform.may_refuse();
      if constexpr (HasFields<T>) visit_fields("", transform, RefusalFinder{may});
      return may;
    }
    void find_shards([[maybe_unused]] std::vector<Shards>& found) const override {
      if constexpr (requires { transform.find_shards(found); })
        transform.find_shards(found);
      else if constexpr (HasFields<T>)
        visit_fields("", transform, ShardsFinder{found});
    }
    void describe(std::string_view path, Settings& out) const override {
      if constexpr (DescribesItself<T>) {
        transform.describe(path, out);
        return;
      }
      std::string what = Transform<T> ? "a transform" : "a function";
      if constexpr (requires { T::name; }) what = T::name;
      out.fields.push_back({std::string(path), std::move(what)});
      if constexpr (HasFields<T>) rein::describe(path, transform, out);
    }
    T transform;
  };
  std::shared_ptr<const Interface> self_;
};

/// Transforms one after the other; stops early when one asks to skip the step. Itself a transform.
struct Chain {
  static constexpr std::string_view name = "Chain";
  std::vector<AnyTransform> parts;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("", self.parts);  // by their numbers
  }
  using State = std::vector<AnyTransform::State>;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const;
  bool decides_non_finite() const;
  bool may_refuse() const { return false; }  // but its parts
};

/// `chain(ClipByValue{-1, 1}, ClipByGlobalNorm{.clip_norm = 5})`; with nothing in it, no change.
template <class... Ts>
Chain chain(Ts... transforms) {
  return {{AnyTransform(std::move(transforms))...}};
}

}  // namespace rein
