// What is remembered of every parameter from step to step.
#pragma once

#include <string>
#include <string_view>

#include "rein/tensor/packed.h"
#include "rein/tensor/variables.h"

namespace rein {

/// A number for each parameter, laid out as the parameters are: what rules and transforms remember.
class Slot {
 public:
  Slot() = default;
  Slot(std::string_view name, const Variables& variables, double value = 0);

  const std::string& name() const { return name_; }
  /// All of it, padding included; `delta` gets offsets into this.
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(block_.data());
  }
  /// A copy of what is remembered of one variable, and the way back. Throw InvalidArgument for a
  /// variable of other Variables or that was added after the slot was made, or another shape or
  /// dtype.
  Tensor read(const Variable& variable, Where where = Where::here()) const;
  void assign(const Variable& variable, const Tensor& value, Where where = Where::here());

  /// All of its numbers, and the way back into the same slot.
  void pack(Packed& out) const { out.add_bytes(block_.data(), block_.size()); }
  void unpack(Packed& in) { in.take_bytes(block_.data(), block_.size()); }
  /// Of all its variables, to save and to load them.
  size_t variable_count() const;
  Variable variable(size_t index) const;

 private:
  size_t offset_of(const Variable& variable, Where where) const;  // bytes

  std::string name_;
  const Variables* variables_ = nullptr;
  Buffer block_;
};

}  // namespace rein
