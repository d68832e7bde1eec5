// What is saved, to go on later as if nothing had happened: values by name, whatever the file.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

#include "rein/base/fields.h"
#include "rein/tensor/slot.h"

namespace rein {

using StateValue = std::variant<bool, int64_t, double, std::string, Tensor>;

/// Names are paths: `rule/m/lstm/kernel`, `settings/rule/beta1`, `step`. Files of it are in
/// rein/io/state_file.h.
using StateDict = std::map<std::string, StateValue, std::less<>>;

/// `3`, `'Adam'`, `float32 [2, 3]`.
std::string to_string(const StateValue& value);

/// Reads a StateDict into things that exist, in two passes: the first only collects what does not
/// fit, so that nothing is changed if anything is wrong.
class StateReader {
 public:
  explicit StateReader(const StateDict& dict) : dict_(dict) {}

  /// Whether this is the pass that changes things.
  bool writes() const { return writes_; }
  bool has(std::string_view path) const;
  /// The value of this name, if it is of the type; else a difference is noted.
  template <class T>
  const T* find(const std::string& path) {
    const StateValue* value = look_up(path);
    if (!value) return nullptr;
    const T* found = std::get_if<T>(value);
    if (!found) differs(path, "a value of another kind", to_string(*value));
    return found;
  }
  /// A tensor of this spec.
  const Tensor* find(const std::string& path, const Spec& spec);
  /// Notes a difference unless the value is there and equal, to the bit.
  void expect(const std::string& path, const StateValue& value);
  void differs(const std::string& path, const std::string& here, const std::string& saved);
  /// Names that are not to be looked at: whatever begins so.
  void ignore(std::string_view prefix);

  /// The end of the first pass: throws InvalidArgument if there are differences, with all of them.
  void check(std::string_view op, Where where);

 private:
  const StateValue* look_up(const std::string& path);

  const StateDict& dict_;
  bool writes_ = false;
  std::set<std::string, std::less<>> seen_;
  std::vector<std::string> missing_, other_;
};

/// What becomes of a state that has something to remember and does not list it.
enum class Unlisted : uint8_t { refuse, leave_out };

/// Any state, as a value that only moves: copies would share nothing, and nobody needs them.
class AnyState {
 public:
  AnyState() = default;
  template <class S>
  requires(!std::same_as<S, AnyState>) explicit AnyState(S state)
      : self_(std::make_unique<Holder<S>>(std::move(state))), type_(&typeid(S)) {}

  /// The state itself. Throws InvalidArgument if it is of another type: of another rule.
  template <class S>
  S& as() {
    if (!type_ || *type_ != typeid(S)) refuse();
    return static_cast<Holder<S>&>(*self_).state;
  }

  /// Adds its fields to `out`, under `path`. Throws InvalidArgument for what is unlisted, unless it
  /// is to be left out.
  void save(const std::string& path, StateDict& out, Unlisted unlisted = Unlisted::refuse) const {
    if (self_) self_->save(path, out, unlisted);
  }
  void load(const std::string& path, StateReader& in) {
    if (self_) self_->load(path, in);
  }
  /// The same as bytes in memory; throws as `save`.
  void pack(Packed& out) const {
    if (self_) self_->pack(out);
  }
  void unpack(Packed& in) {
    if (self_) self_->unpack(in);
  }
  /// The slots among its fields.
  std::vector<Slot*> slots() { return self_ ? self_->slots() : std::vector<Slot*>{}; }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual void save(const std::string& path, StateDict& out, Unlisted unlisted) const = 0;
    virtual void load(const std::string& path, StateReader& in) = 0;
    virtual void pack(Packed& out) const = 0;
    virtual void unpack(Packed& in) = 0;
    virtual std::vector<Slot*> slots() = 0;
  };
  template <class S>
  struct Holder;
  [[noreturn]] static void refuse();

  std::unique_ptr<Interface> self_;
  const std::type_info* type_ = nullptr;
};

namespace detail {
struct Saver {
  StateDict& out;
  Unlisted unlisted;

  [[gnu::cold]] void leaf(const std::string& path, const Slot& slot) const;
  [[gnu::cold]] void leaf(const std::string& path, const Tensor& tensor) const {
    out[path] = tensor.clone();
  }
  [[gnu::cold]] void leaf(const std::string& path, const AnyState& state) const {
    state.save(path, out, unlisted);
  }
  template <class T>
  [[gnu::cold]] void leaf(const std::string& path, const T& x) const {
    if constexpr (VectorOfNumbers<T>) {
      using Kept =
          std::conditional_t<std::is_floating_point_v<typename T::value_type>, double, int64_t>;
      const std::vector<Kept> kept(x.begin(), x.end());
      out[path] = Tensor::copy_of<Kept>({static_cast<int64_t>(kept.size())}, kept);
    } else {
      std::visit([&](auto value) { put(path, std::move(value)); }, field_value(x));
    }
  }

 private:
  template <class V>
  void put(const std::string& path, V value) const {
    if constexpr (!std::same_as<V, std::vector<double>>) out[path] = std::move(value);
  }
};

struct Loader {
  StateReader& in;

  [[gnu::cold]] void leaf(const std::string& path, Slot& slot) const;
  [[gnu::cold]] void leaf(const std::string& path, Tensor& tensor) const;
  [[gnu::cold]] void leaf(const std::string& path, AnyState& state) const { state.load(path, in); }
  template <class T>
  [[gnu::cold]] void leaf(const std::string& path, T& x) const {
    if constexpr (VectorOfNumbers<T>) {
      numbers(path, x, std::same_as<T, GrowingList>);
    } else if constexpr (std::is_enum_v<T>) {
      enumerator(path, x);
    } else {
      using Kept = std::conditional_t<std::same_as<T, bool> || std::same_as<T, std::string>, T,
                                      std::conditional_t<std::is_integral_v<T>, int64_t, double>>;
      if (const Kept* value = in.find<Kept>(path); value && in.writes()) x = static_cast<T>(*value);
    }
  }
  template <class T>
  void optional(const std::string& path, std::optional<T>& x) const {
    if (!in.has(path)) {
      if (in.writes()) x.reset();
      return;
    }
    T value = x ? std::move(*x) : T{};
    visit_fields(path, value, *this);
    if (x || in.writes()) x = std::move(value);
  }

 private:
  template <class T>
  void numbers(const std::string& path, std::vector<T>& x, bool grows) const {
    using Kept = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
    const Tensor* tensor = in.find<Tensor>(path);
    if (!tensor) return;
    if (tensor->dtype() != dtype_of<Kept> || tensor->shape().rank() != 1)
      return in.differs(path, "a list of numbers", to_string(tensor->spec()));
    if (!grows && !x.empty() && tensor->size() != std::ssize(x))
      return in.differs(path, std::to_string(x.size()) + " numbers", to_string(tensor->spec()));
    if (!in.writes()) return;
    x.clear();
    for (const Kept value : tensor->flat<Kept>()) x.push_back(static_cast<T>(value));
  }
  // An enum that was saved as a text is the first whose text it is.
  template <class E>
  void enumerator(const std::string& path, E& x) const {
    if constexpr (requires { std::string(to_string(x)); }) {
      const std::string* text = in.find<std::string>(path);
      for (int i = 0; text && i < 256; ++i)
        if (std::string(to_string(static_cast<E>(i))) == *text) {
          if (in.writes()) x = static_cast<E>(i);
          return;
        }
      if (text) in.differs(path, "one of an enum's names", *text);
    } else {
      const int64_t* number = in.find<int64_t>(path);
      if (number && in.writes()) x = static_cast<E>(*number);
    }
  }
};

struct SlotCollector {
  std::vector<Slot*>& slots;
  // A slot that a setting leaves unused remembers nothing.
  [[gnu::cold]] void leaf(const std::string&, Slot& slot) const {
    if (slot.variable_count() > 0) slots.push_back(&slot);
  }
  [[gnu::cold]] void leaf(const std::string&, AnyState& state) const {
    for (Slot* slot : state.slots()) slots.push_back(slot);
  }
  template <class T>
  [[gnu::cold]] void leaf(const std::string&, T&) const {}
};

template <class S>
inline constexpr bool lists_itself = HasFields<S> || std::is_empty_v<S>;
template <class S>
inline constexpr bool lists_itself<std::vector<S>> = lists_itself<S>;
template <>
inline constexpr bool lists_itself<AnyState> = true;

[[noreturn]] void refuse_to_save(const std::string& path);
}  // namespace detail

/// Adds what `value` lists to `out`, under `path`.
template <class T>
void save_fields(const std::string& path, const T& value, StateDict& out,
                 Unlisted unlisted = Unlisted::refuse) {
  if constexpr (!std::is_empty_v<T> || HasFields<T>)
    visit_fields(path, value, detail::Saver{out, unlisted});
}

/// The way back: in the reader's first pass only looks, in its second writes.
template <class T>
void load_fields(const std::string& path, T& value, StateReader& in) {
  if constexpr (!std::is_empty_v<T> || HasFields<T>) visit_fields(path, value, detail::Loader{in});
}

/// All variables, under their names.
void save_parameters(std::string_view path, const Variables& variables, StateDict& out);
void load_parameters(std::string_view path, Variables& variables, StateReader& in);

/// What to do with settings on loading.
enum class SavedSettings : uint8_t {
  must_match,    // other settings than the saved ones are an error
  do_not_matter  // the present ones count: to go on with another learning rate, or another clip
};

/// Settings are saved under `settings/` to be compared: they are not loaded. What a setting knows
/// (see SettingState) is saved under `known/`, and loaded.
void save_settings(const Settings& settings, StateDict& out);
void load_settings(const Settings& settings, SavedSettings mode, StateReader& in);

template <class S>
struct AnyState::Holder final : AnyState::Interface {
  explicit Holder(S s) : state(std::move(s)) {}
  void save(const std::string& path, StateDict& out, Unlisted unlisted) const override {
    if constexpr (detail::lists_itself<S>)
      save_fields(path, state, out, unlisted);
    else if (unlisted == Unlisted::refuse)
      detail::refuse_to_save(path);
  }
  void load(const std::string& path, StateReader& in) override {
    if constexpr (detail::lists_itself<S>)
      load_fields(path, state, in);
    else
      detail::refuse_to_save(path);
  }
  void pack(Packed& out) const override {
    if constexpr (detail::lists_itself<S>)
      out.add(state);
    else
      detail::refuse_to_save("");
  }
  void unpack(Packed& in) override {
    if constexpr (detail::lists_itself<S>) in.take(state);
  }
  std::vector<Slot*> slots() override {
    std::vector<Slot*> found;
    if constexpr (HasFields<S>) visit_fields("", state, detail::SlotCollector{found});
    return found;
  }
  S state;
};

}  // namespace rein
