#include "rein/base/thread_team.h"

#include <sched.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace rein {

// Each thread has a run of the tasks to begin with, handed out by a counter, and takes from those
// of the others when it has no more. A round is published by raising `round`; workers that see it
// take task numbers until none is left, then report. Between rounds they spin for a moment (the
// next layer is usually microseconds away), then sleep.
struct ThreadTeam::Pool {
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  explicit Pool(int size) : shares(static_cast<size_t>(size)) {}

  std::vector<std::thread> threads;
  pid_t process = 0;  // where they run: a fork has none of them
  std::atomic<uint32_t> round{0};
  std::atomic<int> working{0};
  std::atomic<bool> busy{false};
  std::atomic<bool> closing{false};
  std::vector<Share> shares;
  void (*call)(void*, int64_t) = nullptr;
  void* task = nullptr;
  unsigned float_mode = 0;  // of the caller: rounding, denormals

  // The first thread, the caller's, has the first task.
  void deal(int64_t n_tasks) {
    const auto size = static_cast<int64_t>(shares.size());
    for (int64_t k = 0, begin = 0; k < size; ++k) {
      Share& share = shares[static_cast<size_t>(k)];
      share.next.store(begin, std::memory_order_relaxed);
      begin = share.end = (n_tasks * (k + 1) + size - 1) / size;
    }
  }

  void take_tasks(size_t own) {
    for (size_t k = 0; k < shares.size(); ++k) {
      Share& share = shares[(own + k) % shares.size()];
      if (share.next.load(std::memory_order_relaxed) >= share.end) continue;
      for (int64_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
        call(task, i);
    }
  }

  void work(size_t own) {
    uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < 4000 && round.load(std::memory_order_acquire) == seen; ++spin)
        __builtin_ia32_pause();
      round.wait(seen, std::memory_order_acquire);
      seen = round.load(std::memory_order_acquire);
      if (closing.load(std::memory_order_relaxed)) return;
      _mm_setcsr(float_mode);
      take_tasks(own);
      if (working.fetch_sub(1, std::memory_order_acq_rel) == 1) working.notify_one();
    }
  }
};

ThreadTeam::ThreadTeam(int threads) : size_(threads > 0 ? threads : usable_threads()) {
  if (size_ > 1) pool_ = std::make_unique<Pool>(size_);
}

ThreadTeam::~ThreadTeam() {
  if (!pool_) return;
  if (!pool_->threads.empty() && pool_->process != getpid()) {
    for (auto& thread : pool_->threads) thread.detach();
    return;
  }
  pool_->closing.store(true, std::memory_order_relaxed);
  pool_->round.fetch_add(1, std::memory_order_release);
  pool_->round.notify_all();
  for (auto& thread : pool_->threads) thread.join();
}

void ThreadTeam::share(int64_t n_tasks, void (*call)(void*, int64_t), void* task) {
  Pool& pool = *pool_;
  const bool elsewhere = !pool.threads.empty() && pool.process != getpid();
  if (elsewhere || pool.busy.exchange(true, std::memory_order_acquire)) {
    for (int64_t i = 0; i < n_tasks; ++i) call(task, i);
    return;
  }
  if (pool.threads.empty()) {
    pool.process = getpid();
    try {
      pool.threads.reserve(static_cast<size_t>(size_ - 1));
      for (int i = 1; i < size_; ++i)
        pool.threads.emplace_back([&pool, i] { pool.work(static_cast<size_t>(i)); });
    } catch (const std::exception&) {
      // The system gives no more: those that are there do all the work, with the same results.
    }
  }
  pool.deal(n_tasks);
  pool.call = call;
  pool.task = task;
  pool.float_mode = _mm_getcsr();
  pool.working.store(static_cast<int>(pool.threads.size()), std::memory_order_relaxed);
  pool.round.fetch_add(1, std::memory_order_release);
  pool.round.notify_all();
  pool.take_tasks(0);
  for (int spin = 0; spin < 4000 && pool.working.load(std::memory_order_acquire) != 0; ++spin)
    __builtin_ia32_pause();
  for (int left; (left = pool.working.load(std::memory_order_acquire)) != 0;)
    pool.working.wait(left, std::memory_order_acquire);
  pool.busy.store(false, std::memory_order_release);
}

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace rein
