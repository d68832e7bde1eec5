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

size_t Slot::offset_of(const Variable& variable, Where where) const {
  if (variable.store != variables_)
    throw InvalidArgument(
        "Slot", fmt::format("the variable belongs to other Variables than '{}'", name_), where);
  const auto& entry = variable.store->layout().entries[variable.index];
  const size_t offset = entry.offset * size_of(entry.spec.dtype);
  if (offset + entry.spec.bytes() > block_.size())
    throw InvalidArgument(
        "Slot", fmt::format("'{}' was added after '{}' was made", entry.name, name_), where);
  return offset;
}

size_t Slot::variable_count() const {
  if (!variables_) return 0;
  const auto& entries = variables_->layout().entries;
  size_t count = 0;
  while (count < entries.size() &&
         (entries[count].offset + entries[count].size) * size_of(variables_->dtype()) <=
             block_.size())
    ++count;
  return count;
}

Variable Slot::variable(size_t index) const {
  return {const_cast<Variables*>(variables_), index};  // handles have no constant kind
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
