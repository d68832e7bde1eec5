#include "rein/base/thread_team.h"

#include <unistd.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace rein {

// Each thread has a run of the tasks to begin with, handed out by a counter, and takes from those
// of the others when it has no more. A round calls no more threads than it has tasks, each by its
// own `calls`. A thread that comes enters by `gate`, which the caller shuts when no task is left:
// who comes too late, because another process holds its core, is not waited for. Between rounds
// workers spin for a moment (the next layer is usually microseconds away), then sleep.
struct ThreadTeam::Pool {
  struct alignas(64) Member {
    std::atomic<uint32_t> calls{0};
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  static constexpr uint32_t kOpen = 1U << 31;  // the rest of `gate` counts workers inside
  static constexpr int kSpins = 4000;

  explicit Pool(int size) : members(static_cast<size_t>(size)) {}

  std::vector<std::thread> threads;
  std::atomic<pid_t> process{0};  // where they run, once they do: a fork has none of them
  std::atomic<bool> busy{false};
  std::atomic<bool> closing{false};
  alignas(64) std::atomic<uint32_t> gate{0};
  std::vector<Member> members;  // the first is the caller

  // Of the round; written while the gate is shut and nobody inside.
  size_t crew = 0;  // members that have tasks of their own
  void (*call)(void*, int64_t) = nullptr;
  void* task = nullptr;
  unsigned float_mode = 0;  // of the caller: rounding, denormals

  bool of_another_process() const {
    const pid_t started = process.load(std::memory_order_relaxed);
    return started != 0 && started != getpid();
  }

  void deal(int64_t n_tasks) {
    crew = static_cast<size_t>(std::min<int64_t>(n_tasks, std::ssize(members)));
    const auto size = static_cast<int64_t>(crew);
    for (int64_t k = 0, begin = 0; k < size; ++k) {
      Member& member = members[static_cast<size_t>(k)];
      member.next.store(begin, std::memory_order_relaxed);
      begin = member.end = (n_tasks * (k + 1) + size - 1) / size;
    }
  }

  void take_tasks(size_t own) {
    for (size_t k = 0; k < crew; ++k) {
      Member& member = members[(own + k) % crew];
      if (member.next.load(std::memory_order_relaxed) >= member.end) continue;
      for (int64_t i; (i = member.next.fetch_add(1, std::memory_order_relaxed)) < member.end;)
        call(task, i);
    }
  }

  void wake(size_t member) {
    members[member].calls.fetch_add(1, std::memory_order_release);
    members[member].calls.notify_one();
  }

  bool enter() {
    uint32_t inside = gate.load(std::memory_order_relaxed);
    while (inside & kOpen)
      if (gate.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) return true;
    return false;
  }

  void leave() {
    if (gate.fetch_sub(1, std::memory_order_release) == 1) gate.notify_one();
  }

  void shut_and_wait() {
    gate.fetch_and(~kOpen, std::memory_order_relaxed);
    for (int spin = 0; spin < kSpins && gate.load(std::memory_order_acquire) != 0; ++spin)
      __builtin_ia32_pause();
    for (uint32_t inside; (inside = gate.load(std::memory_order_acquire)) != 0;)
      gate.wait(inside, std::memory_order_acquire);
  }

  void work(size_t own) {
    const std::atomic<uint32_t>& calls = members[own].calls;
    uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && calls.load(std::memory_order_acquire) == seen; ++spin)
        __builtin_ia32_pause();
      calls.wait(seen, std::memory_order_acquire);
      seen = calls.load(std::memory_order_acquire);
      if (closing.load(std::memory_order_relaxed)) return;
      if (!enter()) continue;
      _mm_setcsr(float_mode);
      take_tasks(own);
      leave();
    }
  }
};

ThreadTeam::ThreadTeam(int threads) : size_(threads > 0 ? threads : usable_threads()) {
  if (size_ > 1) pool_ = std::make_unique<Pool>(size_);
}

ThreadTeam::~ThreadTeam() {
  if (!pool_) return;
  if (pool_->of_another_process()) {
    for (auto& thread : pool_->threads) thread.detach();
    return;
  }
  pool_->closing.store(true, std::memory_order_relaxed);
  for (size_t i = 1; i <= pool_->threads.size(); ++i) pool_->wake(i);
  for (auto& thread : pool_->threads) thread.join();
}

void ThreadTeam::share(int64_t n_tasks, void (*call)(void*, int64_t), void* task) {
  Pool& pool = *pool_;
  if (pool.of_another_process() || pool.busy.exchange(true, std::memory_order_acquire)) {
    for (int64_t i = 0; i < n_tasks; ++i) call(task, i);
    return;
  }
  if (pool.threads.empty()) {
    pool.process.store(getpid(), std::memory_order_relaxed);
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
  pool.gate.store(Pool::kOpen, std::memory_order_release);
  for (size_t i = 1; i < std::min(pool.crew, pool.threads.size() + 1); ++i) pool.wake(i);
  pool.take_tasks(0);
  pool.shut_and_wait();
  pool.busy.store(false, std::memory_order_release);
}

}  // namespace rein
