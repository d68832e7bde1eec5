#include "rein/tensor/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace rein {
namespace {

struct Writer {
  std::string operator()(const Tensor& tensor) const { return to_string(tensor.spec()); }
  template <class T>
  std::string operator()(const T& value) const {
    return to_string(FieldValue(value));
  }
};

bool same_bits(const StateValue& a, const StateValue& b) {
  if (a.index() != b.index()) return false;
  if (const auto* x = std::get_if<double>(&a))
    return std::memcmp(x, std::get_if<double>(&b), sizeof *x) == 0;
  if (const auto* x = std::get_if<Tensor>(&a)) {
    const auto& y = std::get<Tensor>(b);
    return x->spec() == y.spec() &&
           (x->size() == 0 || std::memcmp(x->data(), y.data(), x->spec().bytes()) == 0);
  }
  if (const auto* x = std::get_if<bool>(&a)) return *x == std::get<bool>(b);
  if (const auto* x = std::get_if<int64_t>(&a)) return *x == std::get<int64_t>(b);
  return std::get<std::string>(a) == std::get<std::string>(b);
}

struct AsStateValue {
  StateValue operator()(const std::vector<double>& list) const {
    return Tensor::copy_of<double>({static_cast<int64_t>(list.size())}, list);
  }
  template <class T>
  StateValue operator()(const T& value) const {
    return value;
  }
};
StateValue state_value(const FieldValue& value) { return std::visit(AsStateValue{}, value); }

std::string lines(std::string_view title, const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += fmt::format("\n  {}: {}", title, name);
  return text;
}

using Names = std::set<std::string, std::less<>>;

bool has_below(const Names& names, const std::string& folder) {
  const auto next = names.lower_bound(folder + "/");
  return next != names.end() && next->starts_with(folder + "/");
}

// Each of `names` as `told`; but where there are more than a few of a folder of which `others` have
// nothing, the folder. Settings, whose values tell something, always one by one.
template <class Told>
std::vector<std::string> by_folder(const Names& names, const Names& others, Told told) {
  constexpr auto kFew = 4;
  std::vector<std::string> all;
  for (auto name = names.begin(); name != names.end();) {
    size_t end = name->find('/');
    while (end != std::string::npos && has_below(others, name->substr(0, end)))
      end = name->find('/', end + 1);
    const auto outside = [&](const std::string& other) {
      return end == std::string::npos ||
             !other.starts_with(std::string_view(*name).substr(0, end + 1));
    };
    const auto last = std::find_if(name, names.end(), outside);
    if (const auto count = std::distance(name, last);
        count > kFew && !name->starts_with("settings/")) {
      all.push_back(fmt::format("all {} of '{}/'", count, name->substr(0, end)));
      name = last;
    } else {
      all.push_back(told(*name++));
    }
  }
  return all;
}

std::string known(const Settings::Live& live) { return joined("known", live.name); }

}  // namespace

std::string to_string(const StateValue& value) { return std::visit(Writer{}, value); }

// ---------------------------------------------------------------- the reader

bool StateReader::has(std::string_view path) const {
  if (dict_.contains(path)) return true;
  const std::string inside = std::string(path) + "/";
  const auto next = dict_.lower_bound(inside);
  return next != dict_.end() && next->first.starts_with(inside);
}

const StateValue* StateReader::look_up(const std::string& path) {
  const auto found = dict_.find(path);
  if (found == dict_.end()) {
    if (!writes_) missing_.push_back(path);
    return nullptr;
  }
  seen_.insert(path);
  return &found->second;
}

const Tensor* StateReader::find(const std::string& path, const Spec& spec) {
  const StateValue* value = look_up(path);
  if (!value) return nullptr;
  const Tensor* tensor = std::get_if<Tensor>(value);
  if (tensor && tensor->spec() == spec) return tensor;
  differs(path, to_string(spec), to_string(*value));
  return nullptr;
}

void StateReader::expect(const std::string& path, const StateValue& value) {
  const StateValue* saved = look_up(path);
  if (!saved || same_bits(*saved, value)) return;
  if (to_string(*saved) == to_string(value))
    differs(path, "other numbers", "of the same shape");
  else
    differs(path, to_string(value), to_string(*saved));
}

void StateReader::differs(const std::string& path, const std::string& here,
                          const std::string& saved) {
  if (!writes_) other_.push_back(fmt::format("'{}': {} here, {} saved", path, here, saved));
}

void StateReader::ignore(std::string_view prefix) {
  for (auto it = dict_.lower_bound(prefix); it != dict_.end() && it->first.starts_with(prefix);
       ++it)
    seen_.insert(it->first);
}

void StateReader::check(std::string_view op, Where where) {
  const Names missing(missing_.begin(), missing_.end());
  Names saved, expected = seen_, unexpected;
  expected.insert(missing.begin(), missing.end());
  for (const auto& [name, value] : dict_) {
    saved.insert(name);
    if (!seen_.contains(name)) unexpected.insert(name);
  }
  const bool of_settings =
      std::ranges::any_of(other_,
                          [](const auto& line) { return line.starts_with("'settings/"); }) ||
      has_below(missing, "settings") || has_below(unexpected, "settings");
  const auto quoted = [](const std::string& name) { return fmt::format("'{}'", name); };
  const auto with_value = [&](const std::string& name) {
    return fmt::format("'{}' ({})", name, to_string(dict_.find(name)->second));
  };
  if (!missing_.empty() || !unexpected.empty() || !other_.empty())
    throw InvalidArgument(op,
                          "what was saved does not fit this setup:" +
                              lines("missing", by_folder(missing, saved, quoted)) +
                              lines("unexpected", by_folder(unexpected, expected, with_value)) +
                              lines("different", other_) +
                              (of_settings ? "\nsettings that are meant to be others: "
                                             "SavedSettings::do_not_matter"
                                           : "") +
                              "\n",
                          where);
  writes_ = true;
}

// ---------------------------------------------------------------- any state

void AnyState::refuse() {
  throw InvalidArgument("state", "it belongs to a rule or transform of another type", Where{});
}

void detail::refuse_to_save(const std::string& path) {
  throw InvalidArgument("state",
                        fmt::format("the type of '{}' does not list its fields, so it cannot be "
                                    "saved; give it a function `fields` (rein/base/fields.h)",
                                    path),
                        Where{});
}

// ---------------------------------------------------------------- fields

void detail::Saver::leaf(const std::string& path, const Slot& slot) const {
  for (size_t i = 0; i < slot.variable_count(); ++i) {
    const Variable variable = slot.variable(i);
    out[joined(path, variable.name())] = slot.read(variable);
  }
}

void detail::Loader::leaf(const std::string& path, Slot& slot) const {
  for (size_t i = 0; i < slot.variable_count(); ++i) {
    const Variable variable = slot.variable(i);
    const Tensor* tensor = in.find(joined(path, variable.name()), variable.spec());
    if (tensor && in.writes()) slot.assign(variable, *tensor);
  }
}

void detail::Loader::leaf(const std::string& path, Tensor& tensor) const {
  // A tensor that has no numbers yet takes any.
  const Tensor* saved = tensor.size() == 0 ? in.find<Tensor>(path) : in.find(path, tensor.spec());
  if (saved && in.writes()) tensor = saved->clone();
}

void save_parameters(std::string_view path, const Variables& variables, StateDict& out) {
  for (size_t i = 0; i < variables.size(); ++i) {
    const auto& entry = variables.layout().entries[i];
    visit_float(variables.dtype(), [&](auto zero) {
      using T = decltype(zero);
      out[joined(path, entry.name)] = Tensor::copy_of<T>(entry.spec.shape, variables.values<T>(i));
    });
  }
}

void load_parameters(std::string_view path, Variables& variables, StateReader& in) {
  for (size_t i = 0; i < variables.size(); ++i) {
    const Variable variable = variables[i];
    const Tensor* saved = in.find(joined(path, variable.name()), variable.spec());
    if (saved && in.writes()) variables.assign(variable, *saved);
  }
}

namespace {

void load_known(const Settings::Live& live, StateReader& in) {
  std::vector<Field> fields = live.state->state();
  for (Field& field : fields)
    std::visit(
        [&](auto& value) {
          using T = std::remove_cvref_t<decltype(value)>;
          if constexpr (!std::same_as<T, std::vector<double>>) {
            const T* saved = in.find<T>(joined(known(live), field.name));
            if (saved) value = *saved;
          }
        },
        field.value);
  if (in.writes()) live.state->set_state(fields);
}

}  // namespace

void save_settings(const Settings& settings, StateDict& out) {
  for (const Field& field : settings.fields)
    out[joined("settings", field.name)] = state_value(field.value);
  for (const auto& live : settings.live)
    for (const Field& field : live.state->state())
      out[joined(known(live), field.name)] = state_value(field.value);
}

void load_settings(const Settings& settings, SavedSettings mode, StateReader& in) {
  const bool strict = mode == SavedSettings::must_match;
  if (strict && !in.writes())
    for (const Field& field : settings.fields)
      in.expect(joined("settings", field.name), state_value(field.value));
  for (const auto& live : settings.live)
    if (strict || in.has(known(live))) load_known(live, in);
  if (!strict) {
    in.ignore("settings/");
    in.ignore("known/");
  }
}

}  // namespace rein
