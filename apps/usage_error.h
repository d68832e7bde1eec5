// Wrong options or settings: the program ends with exit code 2.
#pragma once

#include <stdexcept>

namespace rein::app {

class UsageError final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rein::app
