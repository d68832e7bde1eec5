// The key to the parameters.
#pragma once

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

}  // namespace rein
