// A team of threads whose size never changes a result.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace rein {

/// Runs numbered tasks on a fixed number of threads, the caller's among them. Work is cut into
/// tasks by shapes alone, never by the number of threads, and results of tasks are combined in the
/// order of their numbers. So one thread or many give the same bits. A thread begins with a run of
/// tasks of its own, the same whenever there are as many tasks, so that it finds in its cache what
/// it had there; then it helps the others. Tasks round, and treat denormals, as the caller does.
///
///     team.run(n_tiles, [&](int64_t tile) { sum[tile] = work_on(tile); });
///
/// Threads start with the first task that needs them (fewer, if the system refuses some), and sleep
/// when there is none. No more are called than there are tasks, and one that has no processor just
/// then is not waited for. A team serves one caller at a time: a second caller, a task that calls
/// `run`, and a fork of the process do their own work alone. Tasks must not throw.
class ThreadTeam final {
 public:
  /// `threads` = 0: as many as this process may use at once.
  explicit ThreadTeam(int threads = 1);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  template <class F>
  void run(int64_t n_tasks, F&& task) {
    if (size_ == 1 || n_tasks <= 1) {
      for (int64_t i = 0; i < n_tasks; ++i) task(i);
      return;
    }
    using Task = std::remove_reference_t<F>;
    share(
        n_tasks, [](void* f, int64_t i) { (*static_cast<Task*>(f))(i); },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

  /// Cuts [0, n) into pieces of `grain` and runs `task(begin, end)` for each.
  template <class F>
  void run_ranges(int64_t n, int64_t grain, F&& task) {
    run((n + grain - 1) / grain, [&](int64_t i) {
      const int64_t begin = i * grain;
      task(begin, begin + grain < n ? begin + grain : n);
    });
  }

 private:
  void share(int64_t n_tasks, void (*call)(void*, int64_t), void* task);

  struct Pool;
  std::unique_ptr<Pool> pool_;
  int size_;
};

/// How many threads this process may use at once: its CPU affinity, or the processor time that its
/// control group has (a container's limit), whole processors of it, if that is less. At least 1.
int usable_threads();

}  // namespace rein
