// The key to the parameters.
#pragma once

#include <algorithm>

#include "rein/tensor/variables.h"

namespace rein {

/// The friend that Variables know: whoever has one may write parameters.
class ParameterWriter {
 public:
  template <class T>
  static T* block(Variables& variables) {
    return reinterpret_cast<T*>(variables.block_.data());
  }
};

/// Writes back what was copied of `variables.block()`, to the bit.
inline void put_back(Variables& variables, const Buffer& own) noexcept {
  std::copy_n(own.data(), own.size(), ParameterWriter::block<std::byte>(variables));
}

}  // namespace rein
