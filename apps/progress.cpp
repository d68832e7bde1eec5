#include "progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "epoch_summary.h"

namespace rein::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kBarWidth = 12;

std::string to_clock(double s) {
  const auto n = static_cast<int64_t>(s + 0.5);
  return n < 3600 ? fmt::format("{}:{:02}", n / 60, n % 60)
                  : fmt::format("{}:{:02}:{:02}", n / 3600, n / 60 % 60, n % 60);
}

std::string bar(double share) {
  const auto full = static_cast<size_t>(share * kBarWidth);
  return fmt::format("[{}{}] ", std::string(full, '='), std::string(kBarWidth - full, ' '));
}

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(int64_t epochs, int64_t steps_an_epoch, int64_t batch_size)
    : epochs_(epochs),
      steps_(steps_an_epoch),
      batch_size_(batch_size),
      terminal_(isatty(STDERR_FILENO) != 0),
      drawn_(Clock::now()) {}

void Progress::show(const StepInfo& info) {
  const auto now = Clock::now();
  training_ += info.seconds;
  ++shown_steps_;
  const double weight = std::max(0.02, 1 / static_cast<double>(shown_steps_));
  loss_ += weight * (info.loss - loss_);
  if (now - drawn_ <
      (terminal_ ? Clock::duration(milliseconds(100)) : Clock::duration(seconds(10))))
    return;
  drawn_ = now;

  const int64_t epoch = (info.step - 1) / steps_ + 1, step = (info.step - 1) % steps_ + 1;
  const double share = static_cast<double>(step) / static_cast<double>(steps_);
  const double a_step = training_ / static_cast<double>(shown_steps_);
  const std::string text =
      fmt::format("epoch {}/{} {}{:3.0f} %  loss {}  norm {:.3g}  {:.0f} ex/s  {} left", epoch,
                  epochs_, terminal_ ? bar(share) : "", 100 * share, loss_text(loss_), info.norm,
                  static_cast<double>(batch_size_) / a_step,
                  to_clock(a_step * static_cast<double>(epochs_ * steps_ - info.step)));
  if (terminal_)
    fmt::print(stderr, "\r\033[K{}", text.substr(0, terminal_width() - 1));
  else
    fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
  shown_ = terminal_;
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace rein::app
