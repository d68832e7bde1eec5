// Ending on request.
#pragma once

namespace rein::app {

/// While it lives, the first SIGINT or SIGTERM only asks to stop, and a second one ends the program
/// at once. One at a time: signals belong to the process.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal that came, or 0.
  int received() const;
};

}  // namespace rein::app
