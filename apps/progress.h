// What is seen of a run while it lasts, on stderr: a bar on a terminal, else a line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "rein/process/step_info.h"

namespace rein::app {

class Progress {
 public:
  Progress(int64_t epochs, int64_t steps_an_epoch, int64_t batch_size);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const StepInfo& info);
  /// Takes the bar away, so that a line can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  int64_t epochs_, steps_, batch_size_;
  bool terminal_;
  bool shown_ = false;
  int64_t shown_steps_ = 0;    // those before it was resumed left out
  double loss_ = 0;            // of the last steps
  double training_ = 0;        // seconds in steps, evaluation left out
  Clock::time_point drawn_{};  // bar or line
};

}  // namespace rein::app
