// Settings that change while training.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

namespace rein {

/// A setting that may follow the step: a number, or a function of the step (from 0, as TensorFlow's
/// global_step).
class Schedule {
 public:
  Schedule(double value) : value_(value) {}
  template <class F>
  requires std::is_invocable_r_v<double, const F&, int64_t> Schedule(F function)
      : function_(std::move(function)) {}
  double at(int64_t step) const { return function_ ? function_(step) : value_; }
  bool is_constant() const { return !function_; }

 private:
  double value_ = 0;
  std::function<double(int64_t)> function_;
};

}  // namespace rein
