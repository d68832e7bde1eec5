// Time, for all that `rein bench` measures.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace rein::app {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class F>
double seconds_of(F&& f) {
  const auto start = Clock::now();
  f();
  return seconds_since(start);
}

/// The number in the middle; of an even count, the upper one.
inline double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::ranges::nth_element(numbers, middle);
  return *middle;
}

/// How long the same thing took, time after time. The shortest counts: whatever else runs on the
/// machine only makes it longer.
class Times {
 public:
  void add(double seconds) { all_.push_back(seconds); }
  template <class F>
  void measure(F&& f) {
    add(seconds_of(f));
  }
  size_t count() const { return all_.size(); }
  double least() const { return *std::ranges::min_element(all_); }
  /// The shortest without a moment of a higher clock, which would set it alone: the median of the
  /// shortest of up to five equal spans, in the order of the measurements.
  double steady() const {
    const size_t spans = std::min<size_t>(5, all_.size());
    const auto begin_of = [&](size_t span) {
      return all_.begin() + static_cast<std::ptrdiff_t>(span * all_.size() / spans);
    };
    std::vector<double> shortest;
    for (size_t i = 0; i < spans; ++i)
      shortest.push_back(*std::min_element(begin_of(i), begin_of(i + 1)));
    return app::median(std::move(shortest));
  }
  double median() const { return app::median(all_); }
  double last() const { return all_.back(); }

 private:
  std::vector<double> all_;
};

}  // namespace rein::app
