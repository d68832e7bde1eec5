#include "rein/dist/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace rein {
namespace {

// What a rank comes with.
struct Call {
  std::string_view op;
  void* data = nullptr;
  size_t size = 0;
  int root = 0;

  bool fits(const Call& other) const {
    return op == other.op && size == other.size && root == other.root;
  }
};

std::string to_string(const Call& call) {
  if (call.op == "broadcast")
    return fmt::format("broadcast of {} bytes of rank {}", call.size, call.root);
  return fmt::format("{} of {} numbers", call.op, call.size);
}

// Where ranks wait for one another.
class Meeting {
 public:
  explicit Meeting(int size) : calls_(static_cast<size_t>(size)) {}

  int size() const { return static_cast<int>(calls_.size()); }
  const Call& call(int rank) const { return calls_[static_cast<size_t>(rank)]; }

  // Afterwards everyone's call is known, until `part`.
  void meet(int rank, const Call& call) {
    {
      const std::lock_guard lock(mutex_);
      need_all();
      calls_[static_cast<size_t>(rank)] = call;
    }
    wait();
    for (int other = 1; other < size(); ++other)
      if (!this->call(other).fits(calls_[0])) {
        const std::string text =
            fmt::format("rank 0 is in {}, rank {} in {}; all must make the same calls in order",
                        to_string(calls_[0]), other, to_string(this->call(other)));
        leave();
        throw InvalidArgument("Communicator", text, Where{});
      }
  }
  void part() { wait(); }

  // Nobody is to wait for this rank any more.
  void leave(std::exception_ptr error = nullptr) {
    const std::lock_guard lock(mutex_);
    left_ = true;
    if (!error_) error_ = error;
    everyone_.notify_all();
  }
  std::exception_ptr first_error() const { return error_; }

 private:
  void need_all() const {
    if (left_)
      throw RankError(
          "Communicator: another rank has failed or returned, and this one waits for it");
  }
  void wait() {
    std::unique_lock lock(mutex_);
    need_all();
    if (++here_ == size()) {
      here_ = 0;
      ++turn_;
      everyone_.notify_all();
      return;
    }
    const uint64_t mine = turn_;
    everyone_.wait(lock, [&] { return turn_ != mine || left_; });
    if (turn_ == mine) need_all();
  }

  std::mutex mutex_;
  std::condition_variable everyone_;
  std::vector<Call> calls_;  // of ranks
  int here_ = 0;
  uint64_t turn_ = 0;
  bool left_ = false;
  std::exception_ptr error_;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return meeting_.size(); }
  void all_reduce(std::span<float> x) override { add_up(x, "all_reduce of float32"); }
  void all_reduce(std::span<double> x) override { add_up(x, "all_reduce of float64"); }
  void broadcast(std::span<std::byte> x, int root) override {
    if (root < 0 || root >= size())
      throw InvalidArgument("broadcast", fmt::format("there is no rank {} of {}", root, size()),
                            Where{});
    meeting_.meet(rank_, {"broadcast", x.data(), x.size(), root});
    if (rank_ != root && !x.empty()) std::memcpy(x.data(), meeting_.call(root).data, x.size());
    meeting_.part();
  }

 private:
  // Each rank adds up its part of the places, for all.
  template <class T>
  void add_up(std::span<T> x, std::string_view op) {
    meeting_.meet(rank_, {op, x.data(), x.size()});
    const auto numbers = [&](int rank) { return static_cast<T*>(meeting_.call(rank).data); };
    const auto ranks = static_cast<size_t>(size()), mine = static_cast<size_t>(rank_);
    const size_t end = x.size() * (mine + 1) / ranks;
    std::array<T, 1024> sums;
    for (size_t at = x.size() * mine / ranks; at < end; at += sums.size()) {
      const size_t n = std::min(sums.size(), end - at);
      std::copy_n(numbers(0) + at, n, sums.begin());
      for (int rank = 1; rank < size(); ++rank) {
        const T* more = numbers(rank) + at;
        for (size_t k = 0; k < n; ++k) sums[k] += more[k];
      }
      for (int rank = 0; rank < size(); ++rank) std::copy_n(sums.begin(), n, numbers(rank) + at);
    }
    meeting_.part();
  }

  Meeting& meeting_;
  int rank_;
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator&)>& f, Where where) {
  if (size < 1)
    throw InvalidArgument("run_ranks", fmt::format("size is {}; give a number of ranks", size),
                          where);
  Meeting meeting(size);
  const auto work = [&](int rank) {
    try {
      ThreadRank communicator(meeting, rank);
      f(communicator);
      meeting.leave();
    } catch (...) {
      meeting.leave(std::current_exception());
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (int rank = 1; rank < size; ++rank) threads.emplace_back(work, rank);
    } catch (...) {
      meeting.leave(std::current_exception());
    }
    work(0);
  }
  if (meeting.first_error()) std::rethrow_exception(meeting.first_error());
}

}  // namespace rein
