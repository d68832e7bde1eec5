// What is remembered as bytes in memory: copied and restored without allocating again.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "rein/base/fields.h"
#include "rein/tensor/tensor.h"

namespace rein {

/// All fields of things, one after the other, as they lie in memory; for this process only.
class Packed {
 public:
  /// Empties it; its memory stays.
  void clear() { bytes_.clear(), at_ = 0; }
  bool empty() const { return bytes_.empty(); }
  /// From now on `take` reads from the first.
  void rewind() { at_ = 0; }

  /// Adds the fields of `x`: whatever a struct may list.
  template <class T>
  [[gnu::cold]] void add(const T& x) {
    if constexpr (HasFields<T>) {
      T::fields(x, [&](std::string_view, const auto& field) { add(field); });
    } else if constexpr (detail::is_optional<T>) {
      add(x.has_value());
      if (x) add(*x);
    } else if constexpr (VectorOfNumbers<T> || std::same_as<T, std::string>) {
      add(x.size());
      add_bytes(x.data(), x.size() * sizeof(typename T::value_type));
    } else if constexpr (detail::is_vector<T>) {
      add(x.size());
      for (const auto& element : x) add(element);
    } else if constexpr (std::same_as<T, Tensor>) {
      add(x.spec());
      add_bytes(x.data(), x.spec().bytes());
    } else if constexpr (requires { x.pack(*this); }) {
      x.pack(*this);
    } else if constexpr (!std::is_empty_v<T>) {
      static_assert(std::is_trivially_copyable_v<T>);
      add_bytes(&x, sizeof x);
    }
  }
  /// The way back, in the same order, into things of the same kind.
  template <class T>
  [[gnu::cold]] void take(T& x) {
    if constexpr (HasFields<T>) {
      T::fields(x, [&](std::string_view, auto& field) { take(field); });
    } else if constexpr (detail::is_optional<T>) {
      if (!take_one<bool>())
        x.reset();
      else
        take(x ? *x : x.emplace());
    } else if constexpr (VectorOfNumbers<T> || std::same_as<T, std::string>) {
      x.resize(take_one<size_t>());
      take_bytes(x.data(), x.size() * sizeof(typename T::value_type));
    } else if constexpr (detail::is_vector<T>) {
      x.resize(take_one<size_t>());
      for (auto& element : x) take(element);
    } else if constexpr (std::same_as<T, Tensor>) {
      if (const auto spec = take_one<Spec>(); spec != x.spec()) x = Tensor(spec);
      take_bytes(x.data(), x.spec().bytes());
    } else if constexpr (requires { x.unpack(*this); }) {
      x.unpack(*this);
    } else if constexpr (!std::is_empty_v<T>) {
      take_bytes(&x, sizeof x);
    }
  }
  [[gnu::noinline, gnu::cold]] void add_bytes(const void* data, size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
  }
  [[gnu::noinline, gnu::cold]] void take_bytes(void* data, size_t size) {
    if (size > 0) std::memcpy(data, bytes_.data() + at_, size);
    at_ += size;
  }

 private:
  template <class T>
  T take_one() {
    T x{};
    take_bytes(&x, sizeof x);
    return x;
  }

  std::vector<std::byte> bytes_;
  size_t at_ = 0;
};

}  // namespace rein
