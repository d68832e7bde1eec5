// What is remembered of every parameter from step to step.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rein/tensor/packed.h"
#include "rein/tensor/variables.h"

namespace rein {

/// A number for each parameter, laid out as the parameters are: what rules and transforms remember.
class Slot {
 public:
  Slot() = default;
  Slot(std::string_view name, const Variables& variables, double value = 0);
  /// Of some of the variables only, zeros at first: `has` says of each whether. Then nothing is
  /// laid out as the parameters are, and there is no memory for the others.
  Slot(std::string_view name, const Variables& variables, const std::vector<bool>& has);

  const std::string& name() const { return name_; }
  /// All of it, padding included; `delta` gets offsets into this.
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(block_.data());
  }
  /// The numbers of one variable, which it has.
  template <class T>
  T* of(size_t variable) {
    return reinterpret_cast<T*>(block_.data() + *find(variable));
  }
  /// A copy of what is remembered of one variable, and the way back. Throw InvalidArgument for a
  /// variable of other Variables, that was added after the slot was made or that the slot does not
  /// have, or another shape or dtype.
  Tensor read(const Variable& variable, Where where = Where::here()) const;
  void assign(const Variable& variable, const Tensor& value, Where where = Where::here());

  /// All of its numbers, and the way back into the same slot.
  void pack(Packed& out) const { out.add_bytes(block_.data(), block_.size()); }
  void unpack(Packed& in) { in.take_bytes(block_.data(), block_.size()); }
  /// Its variables, to save and to load them.
  size_t variable_count() const;
  Variable variable(size_t index) const;

 private:
  struct Part {
    size_t variable, offset;
  };
  std::optional<size_t> find(size_t variable) const;  // where it begins, in bytes
  size_t offset_of(const Variable& variable, Where where) const;

  std::string name_;
  const Variables* variables_ = nullptr;
  std::optional<std::vector<Part>> parts_;  // of some of the variables, in their order
  Buffer block_;
};

}  // namespace rein
