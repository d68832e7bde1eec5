#include "rein/tensor/slot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rein {

Slot::Slot(std::string_view name, const Variables& variables, double value)
    : name_(name),
      variables_(&variables),
      block_(variables.layout().size * size_of(variables.dtype())) {
  if (value == 0) return;  // it is
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::fill_n(data<T>(), variables.layout().size, static_cast<T>(value));
  });
}

Slot::Slot(std::string_view name, const Variables& variables, const std::vector<bool>& has)
    : name_(name), variables_(&variables), parts_(std::in_place) {
  size_t bytes = 0;
  for (size_t i = 0; i < variables.size(); ++i) {
    if (!has[i]) continue;
    parts_->push_back({i, bytes});
    bytes += round_up(variables.layout().entries[i].spec.bytes(), Buffer::kAlignment);
  }
  block_ = Buffer(bytes);
}

std::optional<size_t> Slot::find(size_t variable) const {
  if (parts_) {
    const auto part = std::ranges::lower_bound(*parts_, variable, {}, &Part::variable);
    if (part == parts_->end() || part->variable != variable) return std::nullopt;
    return part->offset;
  }
  const auto& entry = variables_->layout().entries[variable];
  const size_t offset = entry.offset * size_of(entry.spec.dtype);
  if (offset + entry.spec.bytes() > block_.size()) return std::nullopt;
  return offset;
}

size_t Slot::offset_of(const Variable& variable, Where where) const {
  if (variable.store != variables_)
    throw InvalidArgument(
        "Slot", fmt::format("the variable belongs to other Variables than '{}'", name_), where);
  if (const auto offset = find(variable.index)) return *offset;
  throw InvalidArgument(
      "Slot",
      parts_ ? fmt::format("'{}' remembers nothing of '{}'", name_, variable.name())
             : fmt::format("'{}' was added after '{}' was made", variable.name(), name_),
      where);
}

size_t Slot::variable_count() const {
  if (!variables_) return 0;
  if (parts_) return parts_->size();
  size_t count = 0;
  while (count < variables_->size() && find(count)) ++count;
  return count;
}

Variable Slot::variable(size_t index) const {
  return {const_cast<Variables*>(variables_),  // handles have no constant kind
          parts_ ? (*parts_)[index].variable : index};
}

Tensor Slot::read(const Variable& variable, Where where) const {
  Tensor t(variable.spec());
  std::memcpy(t.data(), block_.data() + offset_of(variable, where), t.spec().bytes());
  return t;
}

void Slot::assign(const Variable& variable, const Tensor& value, Where where) {
  if (value.spec() != variable.spec())
    throw InvalidArgument("Slot::assign",
                          fmt::format("'{}' of '{}' is {}, got {}", name_, variable.name(),
                                      to_string(variable.spec()), to_string(value.spec())),
                          where);
  std::memcpy(block_.data() + offset_of(variable, where), value.data(), value.spec().bytes());
}

}  // namespace rein
