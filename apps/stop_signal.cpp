#include "stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <initializer_list>

namespace rein::app {
namespace {

std::atomic<int> received_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free);  // a handler may touch it

extern "C" void remember_signal(int signal) {
  if (received_signal != 0) _exit(128 + signal);
  received_signal = signal;
}

void on_stop_signals(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // files are read and written to the end
  for (int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  on_stop_signals(remember_signal);
}
StopSignal::~StopSignal() { on_stop_signals(SIG_DFL); }

int StopSignal::received() const { return received_signal; }

}  // namespace rein::app
